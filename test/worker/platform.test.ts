import Fastify from 'fastify'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { logRequestTimeout } from '../../lib/worker/platform.js'
import { environment } from '../support/environment.js'

const handler = () => {}
const registry = new Map(Object.entries({
  short: { handler, dispatchDeadlineSeconds: 300 },
  usual: { handler, dispatchDeadlineSeconds: undefined },
  long: { handler, dispatchDeadlineSeconds: 900.5 },
  longer: { handler, dispatchDeadlineSeconds: 301 },
  elsewhere: { handler: undefined, dispatchDeadlineSeconds: 1800 }
}).map(([name, task]) => [name, { name, ...task }]))
const http = { embedded: false, target: { type: 'http' } }
const RUN = { K_SERVICE: 'orders' }

/** Lines about Cloud Run's timeout. */
function lines (config: object, variables: NodeJS.ProcessEnv, tasks: object = registry): unknown[][] {
  const written: unknown[][] = []
  logRequestTimeout({ info (...line: unknown[]) { written.push(line) } } as never, tasks as never, config as never, variables)
  return written
}

t.test('on Cloud Run, tasks with a longer deadline than the request timeout are logged at boot', async t => {
  const [line, ...more] = lines(http, RUN)
  t.equal(more.length, 0)
  t.strictSame(line?.[0], { tasks: ['long', 'longer'] }, 'not a default deadline, nor a task that runs elsewhere')
  t.equal(/--timeout=\d+/.exec(line?.[1] as string)?.[0], '--timeout=901')
  t.equal(/update (\S+)/.exec(line?.[1] as string)?.[1], 'orders')
})

t.test('nothing is logged elsewhere, for App Engine, on the embedded queue, and without such a handler', async t => {
  for (const variables of [{}, { K_SERVICE: '' }]) t.strictSame(lines(http, variables), [])
  t.strictSame(lines({ embedded: false, target: { type: 'appEngine' } }, RUN), [])
  t.strictSame(lines({ ...http, embedded: true }, RUN), [])
  t.strictSame(lines(http, RUN, new Map([...registry].filter(([name]) => !name.startsWith('long')))), [])
})

t.test('an app does so once, by the environment of its process', async t => {
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:1', K_SERVICE: 'orders', GAE_SERVICE: undefined })
  const written: string[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => { written.push(JSON.parse(line).msg) } } } })
  t.teardown(() => app.close())
  await app.register(cloudTasks, {
    tasks: defineTasks({ long: { payload: Type.Object({}), dispatchDeadlineSeconds: 900 } }),
    handlers: { long: () => {} },
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url: 'https://w.example', serviceAccountEmail: 'tasks@demo.example' }
  })
  await app.ready()
  t.equal(written.filter(message => message.includes('gcloud run services update orders --timeout=900')).length, 1)
})
