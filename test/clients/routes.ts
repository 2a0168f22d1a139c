import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { Missing, prepare, program, steps, type Check, type Place } from './check.js'
import { virtualenv } from './python.js'
import { freePort } from '../support/free-port.js'

const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const KEY = 'Bestellung №42/ä'
const tasks = defineTasks({ 'send-receipt': { payload: Type.Object({ order: Type.String() }) } })

/** The sample for Python of docs/other-languages.md enqueues for the plugin's route. */
export const routesPython: Check = async place => {
  const interpreter = await virtualenv(place, ['google-cloud-tasks'])
  writeFileSync(join(place.folder, 'sample.py'), sample('python'))
  copyFileSync(join(HERE, 'main.py'), join(place.folder, 'main.py'))
  await withWorker(place, async settings => { await steps(place, interpreter, [join(place.folder, 'main.py'), ...settings]) })
}

/** The sample for Go of docs/other-languages.md, the same. */
export const routesGo: Check = async place => {
  if ((await program('go', ['version'])).code !== 0) throw new Missing('Go is not installed: https://go.dev/doc/install')
  for (const file of ['../go/go.mod', '../go/go.sum', 'main.go']) copyFileSync(join(HERE, file), join(place.folder, basename(file)))
  writeFileSync(join(place.folder, 'sample.go'), sample('go'))
  const file = join(place.folder, 'client')
  await prepare('its modules could not be downloaded, or it does not build', 'go', ['build', '-o', file, '.'], {
    cwd: place.folder,
    env: {
      ...process.env,
      GOMODCACHE: join(place.downloads, 'go/modules'),
      GOCACHE: join(place.downloads, 'go/builds'),
      GOFLAGS: '-modcacherw -mod=mod'
    }
  })
  await withWorker(place, async settings => { await steps(place, file, settings) })
}

const HERE = join(import.meta.dirname, 'routes')

/** The code of a language on the page. */
function sample (language: string): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/other-languages.md'), 'utf8')
  const code = page.split(`\`\`\`${language}\n`)[1]?.split('\n```')[0]
  if (code === undefined) throw new Error(`docs/other-languages.md has no sample for ${language}`)
  return `${code}\n`
}

/**
 * Runs a client beside a worker that accepts the emulator's tokens, and checks what reached the handler, and that `app.enqueue`
 * knows the client's key.
 * @param run gets origin, account, queue and key for the client
 */
async function withWorker (place: Place, run: (settings: readonly string[]) => Promise<void>): Promise<void> {
  const before = process.env.CLOUD_TASKS_EMULATOR_HOST
  process.env.CLOUD_TASKS_EMULATOR_HOST = place.emulator.address
  const queue = 'projects/demo/locations/us-central1/queues/routes'
  await place.emulator.engine.createQueue(queue)
  const origin = `http://127.0.0.1:${await freePort()}`
  const orders: string[] = []
  const app = Fastify()
  try {
    await app.register(cloudTasks, {
      tasks,
      transport: 'cloud',
      project: 'demo',
      location: 'us-central1',
      queue: 'routes',
      auth: 'emulator',
      target: { type: 'http', url: origin, serviceAccountEmail: ACCOUNT },
      handlers: { 'send-receipt': ({ order }) => { orders.push(order) } }
    })
    await app.listen({ host: '127.0.0.1', port: Number(new URL(origin).port) })
    await run([origin, ACCOUNT, queue, KEY])
    await until(() => orders.length >= 2, () => `only these orders reached the handler: ${orders.join()}`)
    if (orders.sort().join() !== '42,43') throw new Error(`these orders reached the handler: ${orders.join()}`)
    place.say('both tasks reached the handler, their tokens verified')
    const { duplicate } = await tasksOf(app, tasks).enqueue('send-receipt', { order: '42' }, { id: KEY })
    if (!duplicate) throw new Error('app.enqueue made a task of the same key again')
    place.say('app.enqueue finds the key used')
  } finally {
    await app.close()
    if (before === undefined) delete process.env.CLOUD_TASKS_EMULATOR_HOST
    else process.env.CLOUD_TASKS_EMULATOR_HOST = before
  }
}

/** Rejects when it has not come true within ten seconds. */
async function until (isTrue: () => boolean, problem: () => string): Promise<void> {
  for (const end = Date.now() + 10_000; !isTrue();) {
    if (Date.now() > end) throw new Error(problem())
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}
