import { execFile } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build, type BuildOptions } from 'esbuild'
import t from 'tap'
import { root } from './support/compiler.js'
import { startRecordingServer } from './support/recording-server.js'

t.setTimeout(120_000)

const folder = t.testdir({
  'app.js': `
    import { Type } from '@sinclair/typebox'
    import Fastify from 'fastify'
    import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
    const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
    async function run (environment) {
      Object.assign(process.env, environment)
      const app = Fastify()
      const ran = new Promise(resolve => {
        app.register(cloudTasks, { tasks, handlers: { greet: async ({ name }) => { resolve('hello ' + name) } } })
      })
      try {
        await app.ready()
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
})
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')

/** As docs/bundlers.md says. */
const banner = { js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url)" }

/** The app with the plugin and all it needs in one file, less what is `external`. */
async function bundle (format: 'cjs' | 'esm', external: string[]): Promise<string> {
  const outfile = join(folder, `${format}-${external.length}.${format === 'cjs' ? 'cjs' : 'mjs'}`)
  const options: BuildOptions = {
    entryPoints: [join(folder, 'app.js')], outfile, bundle: true, platform: 'node', format, external, alias: { 'fastify-cloud-tasks': join(root, 'lib/index.ts') }, logLevel: 'error'
  }
  await build({ ...options, ...(format === 'esm' ? { banner } : {}) })
  return outfile
}

/** What came of the app in each of these environments, in one process without the loaders of the test runner. */
async function run (file: string, environments: ReadonlyArray<Readonly<Record<string, string>>>): Promise<unknown[]> {
  const { stdout } = await promisify(execFile)('env', ['-u', 'NODE_OPTIONS', process.execPath, file, JSON.stringify(environments)])
  return JSON.parse(stdout) as unknown[]
}

const CLOUD = {
  CLOUD_TASKS_TRANSPORT: 'cloud',
  CLOUD_TASKS_LOCATION: 'us-central1',
  GOOGLE_CLOUD_PROJECT: 'demo',
  CLOUD_TASKS_TARGET_URL: 'https://worker.example',
  CLOUD_TASKS_SERVICE_ACCOUNT: 'tasks@demo.iam.gserviceaccount.com'
}

for (const format of ['cjs', 'esm'] as const) {
  t.test(`a bundle (${format}) with everything in it runs tasks in memory, and else does not start and says what must stay external`, async t => {
    const file = await bundle(format, [])
    const [memory, cloud, emulator, directory] = await run(file, [{}, CLOUD, { ...CLOUD, CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:8123' }, { CLOUD_TASKS_DIRECTORY: t.testdir({}) }])
    t.equal(memory, 'hello Ada')
    const refused = /^FST_TASKS_CLIENT_UNAVAILABLE: The client library @google-cloud\/tasks does not load \(.+\);.* must stay external .*docs\/bundlers\.md$/
    t.match(cloud, refused)
    t.match(emulator, refused)
    t.match(directory, /^FST_TASKS_STORE_UNAVAILABLE: .*lmdb does not load here .* must stay external/)
  })

  t.test(`a bundle (${format}) that leaves out what must stay external runs tasks from memory and a directory, and enqueues in an emulator`, async t => {
    const file = await bundle(format, ['@google-cloud/tasks', 'lmdb'])
    const server = await startRecordingServer()
    t.teardown(() => server.close())
    const answers = await run(file, [{}, { CLOUD_TASKS_DIRECTORY: join(t.testdir({}), 'queue') }, { ...CLOUD, CLOUD_TASKS_EMULATOR_HOST: server.host }])
    t.strictSame(answers, ['hello Ada', 'hello Ada', { duplicate: false }])
    t.equal(server.calls[0]?.request.task.httpRequest.url, 'https://worker.example/tasks/greet')
  })
}
