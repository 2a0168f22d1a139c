import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** An app that runs in each of the environments that it is given as JSON, one after another, and prints what came of it. */
export const BUNDLED_APP = `
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
import taskConsole from 'fastify-cloud-tasks/console'
const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
async function run (environment) {
  Object.assign(process.env, environment)
  const app = Fastify()
  const ran = new Promise(resolve => {
    app.register(cloudTasks, { tasks, handlers: { greet: async ({ name }) => { resolve('hello ' + name) } } })
  })
  if (environment.CONSOLE !== undefined) app.register(taskConsole)
  try {
    await app.ready()
    if (environment.CONSOLE !== undefined) return (await app.inject('/console/')).statusCode
    const { duplicate } = await app.enqueue('greet', { name: 'Ada' })
    return environment.CLOUD_TASKS_EMULATOR_HOST === undefined ? await ran : { duplicate }
  } catch ({ code, message, explanation = message }) {
    return code + ': ' + explanation
  } finally {
    await app.close().catch(() => {})
    for (const name of Object.keys(environment)) delete process.env[name]
  }
}
async function main () {
  const answers = []
  for (const environment of JSON.parse(process.argv[2])) answers.push(await run(environment))
  console.log(JSON.stringify(answers))
}
main()
`

/** With transport cloud; CLOUD_TASKS_EMULATOR_HOST says where. */
export const CLOUD = {
  CLOUD_TASKS_TRANSPORT: 'cloud',
  CLOUD_TASKS_LOCATION: 'us-central1',
  GOOGLE_CLOUD_PROJECT: 'demo',
  CLOUD_TASKS_TARGET_URL: 'https://worker.example',
  CLOUD_TASKS_SERVICE_ACCOUNT: 'tasks@demo.iam.gserviceaccount.com'
}

/** What the bundle of the app prints, in one process without the loaders of the test runner. */
export async function runBundle (file: string, environments: ReadonlyArray<Readonly<Record<string, string>>>): Promise<unknown[]> {
  const { stdout } = await promisify(execFile)('env', ['-u', 'NODE_OPTIONS', process.execPath, file, JSON.stringify(environments)])
  return JSON.parse(stdout) as unknown[]
}
