import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { environment } from '../support/environment.js'

const payload = Type.Object({})
const tasks = defineTasks({
  short: { payload, dispatchDeadlineSeconds: 300 },
  usual: { payload },
  long: { payload, dispatchDeadlineSeconds: 900.5 },
  elsewhere: { payload, dispatchDeadlineSeconds: 1800 }
})
const handlers = { short: () => {}, usual: () => {}, long: () => {} }

interface Line { readonly level: number, readonly msg: string, readonly tasks?: readonly string[] }

/** Lines logged at boot about Cloud Run's timeout. */
async function lines (t: Test, options: object, variables: Record<string, string | undefined>): Promise<Line[]> {
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:1', K_SERVICE: undefined, GAE_SERVICE: undefined, ...variables })
  const written: Line[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => { written.push(JSON.parse(line)) } } } })
  await app.register(cloudTasks, {
    tasks,
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url: 'https://w.example', serviceAccountEmail: 'tasks@demo.example' },
    ...options
  } as never)
  await app.ready()
  await app.close()
  return written.filter(({ msg }) => msg.includes('Cloud Run'))
}

t.test(
  'on Cloud Run, tasks with a longer deadline than the request timeout are logged at boot',
  async t => {
    const [line, ...more] = await lines(t, { handlers }, { K_SERVICE: 'orders' })
    t.equal(more.length, 0)
    t.equal(line?.level, 30)
    t.strictSame(line?.tasks, ['long'], 'not a default deadline, nor a task that runs elsewhere')
    t.ok(line?.msg.includes("'gcloud run services update orders --timeout=901'"))
  }
)

t.test('nothing is logged elsewhere, without handlers, or on the embedded queue', async t => {
  t.strictSame(await lines(t, { handlers }, {}), [])
  t.strictSame(await lines(t, {}, { K_SERVICE: 'orders' }), [])
  t.strictSame(await lines(t, { handlers, transport: 'local' }, { K_SERVICE: 'orders' }), [])
})
