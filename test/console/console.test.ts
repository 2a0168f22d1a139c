import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import taskConsole from '../../lib/console/plugin.js'
import cloudTasks, { defineTasks } from '../../lib/index.js'

const tasks = defineTasks({
  greet: { payload: Type.Object({ name: Type.String({ minLength: 2 }) }) },
  fail: { payload: Type.Object({ name: Type.String() }) }
})

async function served (t: typeof import('tap')['default'] | import('tap').Test) {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(cloudTasks, {
    tasks,
    handlers: {
      greet: async ({ name }, task) => { task.log.info({ name }, 'greeting'); return name },
      fail: async (payload, task) => { task.log.warn('about to fail'); throw new Error('no <b>mail</b> today') }
    },
    transport: 'local',
    queues: { default: { retryConfig: { maxAttempts: 1 } } }
  })
  await app.register(taskConsole, { prefix: '/console' })
  await app.ready()
  const get = async (path: string): Promise<any> => (await app.inject({ url: `/console/api/${path}`, headers: { host: 'localhost' } })).json()
  const overview = await get('overview')
  const post = async (path: string, payload: object, headers: Record<string, string> = {}) =>
    await app.inject({ method: 'POST', url: `/console/api/${path}`, payload, headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': overview.token, ...headers } })
  return { app, get, post, overview }
}

t.test('the page comes with a strict policy and no inline script', async t => {
  const { app } = await served(t)
  const page = await app.inject({ url: '/console/', headers: { host: 'localhost' } })
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-security-policy'], /default-src 'none'.*script-src 'self'/)
  t.notMatch(page.body, /<script(?![^>]*src=)/)
})

t.test('the overview shows the registry and the queues', async t => {
  const { overview } = await served(t)
  t.match(overview, { tasks: [{ name: 'greet', handler: true, schema: { type: 'object' } }, { name: 'fail' }], queues: [{ id: 'default', state: 'RUNNING' }] })
})

t.test('a payload is validated as the route does it, and a run shows value, log lines and error', async t => {
  const { post } = await served(t)
  t.match((await post('validate', { task: 'greet', text: '{"name":"a"}' })).json(), { ok: false, errors: [{ path: '/name' }] })
  t.match((await post('validate', { task: 'greet', text: '{"name":"ada"}' })).json(), { ok: true, errors: [] })
  t.match((await post('run', { task: 'greet', text: '{"name":"ada"}' })).json(), { outcome: 'done', value: '"ada"', logs: [{ level: 'info', message: 'greeting' }] })
  t.match((await post('run', { task: 'fail', text: '{"name":"ada"}' })).json(), { outcome: 'failed', error: { message: 'no <b>mail</b> today', stack: /console\.test/ }, logs: [{ level: 'warn', message: 'about to fail' }] })
})

t.test('a failed task shows its attempt with the log lines and the error of that attempt', async t => {
  const { app, get, post } = await served(t)
  const { id } = (await post('enqueue', { task: 'fail', text: '{"name":"ada"}' })).json()
  for (let turn = 0; turn < 1000 && app.tasks.list()[1]!.counts.exhausted === 0; turn++) await new Promise(resolve => setImmediate(resolve))
  const { tasks: [row] } = await get('tasks?state=failed')
  t.match(row, { id, task: 'fail', state: 'failed', attempts: 1, lastResult: 500 })
  t.match(await get(`task?name=${encodeURIComponent(row.name)}`), { attemptList: [{ number: 1, result: 500, logs: [{ message: 'about to fail' }], error: { message: 'no <b>mail</b> today' } }] })
})

t.test('a write without the token, or from another origin, does nothing', async t => {
  const { post, overview } = await served(t)
  const queue = { name: overview.queues[0].name }
  t.equal((await post('queue/pause', queue, { 'x-console-token': 'wrong' })).statusCode, 403)
  t.equal((await post('queue/pause', queue, { origin: 'http://evil.example' })).statusCode, 403)
  t.equal((await post('queue/pause', queue, { host: 'evil.example' })).statusCode, 403)
  t.match((await post('queue/pause', queue)).json(), { state: 'PAUSED' })
})

t.test('in production it does not start without auth', async t => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = 'production'
  t.teardown(() => { if (before === undefined) delete process.env['NODE_ENV']; else process.env['NODE_ENV'] = before })
  await t.rejects(async () => { await app.register(taskConsole, {}) }, { code: 'FST_TASKS_NOT_FOR_PRODUCTION' })
})
