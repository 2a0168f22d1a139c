import { get, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { ConsoleOptions } from '../../lib/console/plugin.js'
import type { Live as LiveMessage, Overview, RunReport, TaskDetail, TaskPage, TaskRow, Validation } from '../../lib/console/api/api.js'
import { engineConsole } from '../../lib/console/engine-console.js'
import { Live } from '../../lib/console/live.js'
import taskConsole from '../../lib/console/plugin.js'
import { createEmulator } from '../../lib/emulator/index.js'
import { Engine } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../../lib/index.js'
import { watchAttempts } from '../support/app.js'

const HOSTILE = '<script>alert(1)</script>"\'&\u202e\u0000'

const tasks = defineTasks({
  greet: { payload: Type.Object({ name: Type.String(), times: Type.Integer({ default: 1, maximum: 3 }), tags: Type.Optional(Type.Record(Type.String(), Type.Integer())) }) },
  fail: { queue: 'slow', payload: Type.Object({ text: Type.String() }) },
  drop: { payload: Type.Object({ reason: Type.String() }) },
  later: { queue: 'slow', payload: Type.Object({}) }
})
const queue = (id: string): string => `projects/local/locations/local/queues/${id}`

function circular (): object {
  const circle: Record<string, unknown> = {}
  circle.self = circle
  return circle
}

interface Served {
  readonly app: FastifyInstance
  readonly enqueue: ReturnType<typeof tasksOf<typeof tasks>>['enqueue']
  readonly read: <T>(path: string) => Promise<T>
  readonly write: <T>(path: string, body: unknown, options?: InjectOptions) => Promise<T>
}

interface Setting {
  readonly console?: ConsoleOptions
  readonly plugin?: Partial<CloudTasksOptions>
  readonly server?: FastifyServerOptions
  readonly before?: (app: FastifyInstance) => unknown
}

async function serve (t: Test, { console = {}, plugin = {}, server = {}, before }: Setting = {}): Promise<Served> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await before?.(app)
  app.register(taskConsole, console)
  app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { slow: { retryConfig: { minBackoffSeconds: 3600 } } },
    handlers: {
      greet ({ name, times }, task) {
        task.log.info({ name }, `hello ${name}`)
        task.request?.log.warn('by the request')
        return name === 'odd' ? { big: 1n } : name === 'circular' ? circular() : { greeted: name, times }
      },
      fail ({ text }, task) {
        task.log.child({ part: 'child' }).error(text)
        throw Object.assign(new Error(text, { cause: new TypeError('the cause') }), { code: text })
      },
      drop: ({ reason }, task) => task.drop(reason),
      later () {}
    },
    ...plugin
  } as CloudTasksOptions)
  await app.ready()
  const overview = await app.inject('/console/api/overview')
  const { token } = overview.statusCode === 200 ? overview.json<Overview>() : { token: '' }
  return {
    app,
    enqueue: tasksOf(app, tasks).enqueue,
    async read<T> (path: string) {
      const response = await app.inject(`/console/api/${path}`)
      return response.json<T>()
    },
    async write<T> (path: string, body: unknown, options: InjectOptions = {}) {
      const { headers, ...rest } = options
      const response = await app.inject({
        method: 'POST', url: `/console/api/${path}`, payload: body as object, headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': token, ...headers }, ...rest
      })
      return response.json<T>()
    }
  }
}

t.test('the page', async t => {
  const { app } = await serve(t)

  t.test('is served with all it needs, under a strict policy', async t => {
    const page = await app.inject('/console/')
    t.equal(page.statusCode, 200)
    t.match(page.headers, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer'
    })
    for (const [, path] of page.body.matchAll(/(?:src|href)="([^"]+)"/g)) {
      const asset = await app.inject(`/console/${path}`)
      t.equal(asset.statusCode, 200, path!)
      t.ok(asset.headers['content-security-policy'])
    }
    t.notMatch(page.body, /<script(?![^>]*src=)|\son\w+=|style=/, 'nothing is inline')
    t.match((await app.inject('/console/assets/htm-preact.js')).body, /export/)
  })

  t.test('is reached without the slash, too, by a relative way', async t => {
    t.match((await app.inject('/console')).headers, { location: 'console/' })
  })

  t.test('has no other files than its own', async t => {
    for (const path of ['../console.ts', '..%2Fconsole.ts', '%2e%2e/console.ts', 'none.js', '.', '', 'a/../../plugin.ts', 'index.html%00.js', '/etc/passwd', 'toString']) {
      t.equal((await app.inject(`/console/assets/${path}`)).statusCode, 404, path)
    }
    t.match(await (await app.inject('/console/api/none')).json(), { error: { code: 'FST_TASKS_CONSOLE_REQUEST' } })
  })

  t.test('can stand elsewhere, at the root, and twice', async t => {
    for (const [prefix, at] of [['/a/b', '/a/b'], ['/', '']] as const) {
      const { app } = await serve(t, { console: { prefix }, before: app => app.register(taskConsole, { prefix: '/second' }) })
      t.equal((await app.inject(`${at}/`)).statusCode, 200)
      t.equal((await app.inject(`${at}/api/overview`)).statusCode, 200)
      t.equal((await app.inject('/second/api/overview')).statusCode, 200)
    }
    const slashes = await serve(t, { server: { routerOptions: { ignoreTrailingSlash: true } } })
    t.equal((await slashes.app.inject('/console')).statusCode, 302)
    t.equal((await slashes.app.inject('/console/')).statusCode, 200)
  })
})

t.test('the overview has the registry and the queues', async t => {
  const { read, enqueue } = await serve(t, { console: { title: 'Shop' } })
  await enqueue('later', {}, { scheduleDelaySeconds: 100 })
  const overview = await read<Overview>('overview')
  t.match(overview, { title: 'Shop', token: /^[\w-]{43}$/ })
  t.match(overview.tasks![0], { name: 'greet', method: 'POST', path: '/tasks/greet', queue: 'default', handler: true, counts: { done: 0 } })
  t.same(overview.tasks![0]!.schema, JSON.parse(JSON.stringify(tasks.greet.payload)))
  t.match(overview.queues!.map(({ id, name, state, waiting, running }) => ({ id, name, state, waiting, running })), [
    { id: 'default', name: queue('default'), state: 'RUNNING', waiting: 0, running: 0 },
    { id: 'slow', waiting: 1 }
  ])
  t.match(overview.queues![1]!.retryConfig, { minBackoffSeconds: 3600 })
  t.equal(overview.timeline.length, 300)
  t.match(overview.timeline.at(-1), { arrived: 1, waiting: 1 })
})

t.test('a payload is validated by the validator of its route', async t => {
  const { write, app } = await serve(t)
  const validate = async (text: string, task = 'greet'): Promise<Validation> => await write('validate', { task, text })
  t.same(await validate('{ "name": "Ada" }'), { ok: true, errors: [] })
  t.same(await validate('{ "name": "Ada", "times": "2" }'), { ok: true, errors: [] }, 'it coerces, as the route does')
  t.same(await validate('{ "times": 1 }'), { ok: false, errors: [{ path: '/name', message: "must have required property 'name'" }] })
  t.same(await validate('{ "name": "Ada", "times": 9 }'), { ok: false, errors: [{ path: '/times', message: 'must be <= 3' }] })
  t.same(await validate('{ "name": "Ada", "tags": { "a/b": "x" } }'), { ok: false, errors: [{ path: '/tags/a~1b', message: 'must be integer' }] }, 'keys are told to whoever wrote them')
  t.match(await validate('{ "name": '), { ok: false, errors: [{ path: '', message: /not JSON/ }] })
  t.match(await validate(''), { ok: false, errors: [{ path: '', message: 'There is no JSON text' }] })
  t.match(await validate('{ "name": "Ada", "__proto__": { "x": 1 } }'), { ok: false, errors: [{ path: '', message: /__proto__/ }] })
  t.match(await validate('{}', 'great'), { error: { code: 'FST_TASKS_NOT_REGISTERED', message: /did you mean 'greet'/ } })
  t.match(await write('validate', { task: 'greet' }), { error: { code: 'FST_TASKS_CONSOLE_REQUEST', message: /'text' is needed/ } })
  t.match(await write('validate', [1]), { error: { code: 'FST_TASKS_CONSOLE_REQUEST' } })
  t.equal((await app.inject({ method: 'POST', url: '/console/api/validate', headers: { host: 'localhost' }, payload: {} })).statusCode, 403)
})

t.test('a task is run here and now', async t => {
  const { write, app } = await serve(t)
  const run = async (task: string, payload: unknown): Promise<RunReport> => await write('run', { task, text: JSON.stringify(payload) })
  const done = await run('greet', { name: HOSTILE })
  t.match(done, { outcome: 'done', logs: [{ level: 'info', message: `hello ${HOSTILE}` }] })
  t.same(JSON.parse(done.value!), { greeted: HOSTILE, times: 1 }, 'the handler got the default')
  t.equal(done.logs.length, 1, 'there is no request in a run')
  t.match(JSON.parse((await run('greet', { name: 'odd' })).value!), { big: '1' })
  t.match(JSON.parse((await run('greet', { name: 'circular' })).value!), /without a JSON text/)
  t.notOk((await run('later', {})).value)
  t.match(await run('greet', {}), { outcome: 'invalid', faults: [{ path: '/name' }], logs: [] })
  t.match(await run('fail', { text: HOSTILE }), {
    outcome: 'failed', error: { message: HOSTILE, code: HOSTILE, stack: /server\.test\.ts/, causes: [{ name: 'TypeError', message: 'the cause' }] }, logs: [{ level: 'error', message: HOSTILE }]
  })
  t.match(await run('drop', { reason: 'no use' }), { outcome: 'dropped', dropReason: 'no use' })
  const producer = await serve(t, { plugin: { handlers: {} } })
  t.match(await producer.write('run', { task: 'later', text: '{}' }), { error: { code: 'FST_TASKS_NO_HANDLER' } })
  t.ok(app)
})

t.test('a task is enqueued with delay and id', async t => {
  const { write, read } = await serve(t)
  const text = '{ "name": "Ada" }'
  const first = await write<{ name: string, scheduleAt: number }>('enqueue', { task: 'greet', text, id: 'one', scheduleDelaySeconds: 60 })
  t.match(first, { id: /-one$/, queue: queue('default'), duplicate: false })
  t.ok(Math.abs(first.scheduleAt - Date.now() - 60_000) < 5000)
  t.match(await write('enqueue', { task: 'greet', text, id: 'one' }), { duplicate: true })
  t.match(await read(`task?name=${first.name}`), { state: 'waiting', task: 'greet', payload: { text: '{"name":"Ada"}', kind: 'json' }, attemptList: [], omitted: 0 })
  t.match(await write('enqueue', { task: 'greet', text: '{}' }), { error: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  t.match(await write('enqueue', { task: 'greet', text: '{' }), { error: { message: /JSON/ } })
  t.match(await write('enqueue', { task: 'greet', text, id: 1 }), { error: { code: 'FST_TASKS_CONSOLE_REQUEST', message: /'id' must be a string/ } })
  t.match(await write('enqueue', { task: 'greet', text, scheduleDelaySeconds: 1e9 }), { error: { message: /'scheduleDelaySeconds' must be/ } })
})

t.test('attempts', async t => {
  const attempts = watchAttempts(t)
  const { enqueue, read, write, app } = await serve(t, { server: { logger: { level: 'info', stream: { write () {} } } } })
  await enqueue('fail', { text: HOSTILE }, { headers: { 'x-trace': HOSTILE.replaceAll(/[^\x20-\x7e]/g, ''), authorization: 'Bearer secret', 'x-api-key': 'secret' } })
  await enqueue('greet', { name: 'Ada', times: 1 })
  await enqueue('drop', { reason: HOSTILE })
  await attempts.ended(3)
  // The engine hears of it once the route has answered.
  await app.inject('/console/api/overview')
  await new Promise(resolve => setImmediate(resolve))
  let failed: TaskRow

  t.test('that failed show their log lines, their error and its cause, and no secret', async t => {
    const { tasks } = await read<TaskPage>('tasks?state=retrying')
    failed = tasks[0]!
    t.match(failed, { task: 'fail', url: '/tasks/fail', state: 'retrying', attempts: 1, lastResult: 500, queue: queue('slow') })
    const detail = await read<TaskDetail>(`task?name=${failed.name}`)
    t.match(detail.attemptList, [{
      number: 1,
      result: 500,
      error: { name: 'Error', message: HOSTILE, code: HOSTILE, stack: /server\.test\.ts/, causes: [{ name: 'TypeError' }] },
      logs: [{ level: 'error', message: HOSTILE, fields: '{"part":"child"}' }, { level: 'warn', message: 'attempt failed, it will be retried' }]
    }])
    t.ok(detail.attemptList[0]!.retryAt! > Date.now())
    t.match(detail.headers, { 'x-trace': /script/, authorization: '[hidden]', 'x-api-key': '[hidden]' })
    t.match(detail.attemptList[0]!.headers, { 'X-CloudTasks-QueueName': 'slow', authorization: '[hidden]' })
    t.notMatch(JSON.stringify(detail), /Bearer|fastify-cloud-tasks-secret/)
  })

  t.test('that went well show their log lines, those of the request included', async t => {
    const { tasks } = await read<TaskPage>('tasks?state=done')
    t.match(tasks, [{ task: 'greet', state: 'done', lastResult: 204 }])
    const { attemptList, payload } = await read<TaskDetail>(`task?name=${tasks[0]!.name}`)
    t.match(attemptList, [{ result: 204, logs: [{ level: 'info', message: 'hello Ada', fields: '{"name":"Ada"}' }, { level: 'warn', message: 'by the request' }] }])
    t.match(payload, { text: '{"name":"Ada","times":1}', kind: 'json', cut: false })
  })

  t.test('that dropped their task say why', async t => {
    const { tasks } = await read<TaskPage>('tasks?state=dropped')
    t.match((await read<TaskDetail>(`task?name=${tasks[0]!.name}`)).attemptList, [{ dropReason: HOSTILE }])
  })

  t.test('are repeated by hand, their task is copied and deleted', async t => {
    t.match(await write('task/run', { name: failed.name }), { state: 'running', attempts: 2 })
    await attempts.ended(4)
    const copy = await write<TaskRow>('task/copy', { name: failed.name })
    t.match(copy, { task: 'fail', queue: queue('slow') })
    t.not(copy.name, failed.name)
    await attempts.ended(5)
    t.same(await write('task/delete', { name: failed.name }), {})
    t.match(await read(`task?name=${failed.name}`), { state: 'deleted', attempts: 2, attemptList: [{ number: 1 }, { number: 2 }] })
    t.match(await write('task/delete', { name: failed.name }), { error: { code: 'NOT_FOUND' } })
    const { tasks } = await read<TaskPage>('tasks?state=ended')
    t.same(tasks.map(({ state }) => state).sort(), ['deleted', 'done', 'dropped'])
    const again = await write<TaskRow>('task/copy', { name: tasks.find(({ state }) => state === 'dropped')!.name })
    t.match(again, { task: 'drop' }, 'also of one that has ended')
    t.match(await write('task/copy', { name: `${queue('slow')}/tasks/none` }), { error: { code: 'NOT_FOUND' } })
    t.match(await write('task/copy', { name: HOSTILE }), { error: { code: 'INVALID_ARGUMENT' } })
  })
})

t.test('a large payload is cut, and whole on demand while it is kept', async t => {
  const attempts = watchAttempts(t)
  const { enqueue, read, write, app } = await serve(t)
  const names: string[] = []
  for (let count = 0; count < 75; count++) {
    const { id } = await enqueue('greet', { name: `${HOSTILE}${'€'.repeat(300_000)}`, times: 1 })
    names.push(`${queue('default')}/tasks/${id}`)
  }
  await attempts.ended(75)
  await app.inject('/console/api/overview')
  const last = await read<TaskDetail>(`task?name=${names.at(-1)!}`)
  t.match(last.payload, { cut: true, kind: 'json' })
  t.ok(Buffer.byteLength(last.payload.text) <= 16_384)
  const whole = await app.inject(`/console/api/payload?name=${names.at(-1)!}`)
  t.match(whole.headers, { 'content-type': 'text/plain; charset=utf-8', 'content-disposition': /^attachment; filename="\d+\.txt"$/, 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' })
  t.equal(whole.rawPayload.length, last.payload.bytes)
  t.match(await read(`task?name=${names[0]!}`), { state: 'done', payload: { cut: true, bytes: last.payload.bytes } })
  t.equal((await app.inject(`/console/api/payload?name=${names[0]!}`)).statusCode, 410)
  t.match(await write('task/copy', { name: names[0] }), { error: { message: /no longer kept/ } })
})

t.test('queues are paused, resumed and purged', async t => {
  const { enqueue, write, read } = await serve(t)
  t.match(await write('queue/pause', { name: queue('slow') }), { id: 'slow', state: 'PAUSED' })
  await enqueue('later', {})
  t.match(await read('tasks?state=waiting'), { tasks: [{ task: 'later', state: 'waiting' }] })
  t.match(await write('queue/purge', { name: queue('slow') }), { state: 'PAUSED', waiting: 0 })
  t.match(await write('queue/resume', { name: queue('slow') }), { state: 'RUNNING' })
  t.match(await write('queue/pause', { name: queue('none') }), { error: { code: 'NOT_FOUND' } })
  t.match(await read('tasks?state=bogus'), { error: { code: 'FST_TASKS_CONSOLE_REQUEST', message: /'state' must be/ } })
  t.match(await read('tasks?limit=1000'), { error: { message: /'limit' must be/ } })
  t.match(await read('tasks?state=done&state=done'), { error: { code: 'FST_TASKS_CONSOLE_REQUEST' } })
})

t.test('other sites', async t => {
  const { app, read } = await serve(t, { console: { hosts: ['dev.example'] } })
  const { token } = await read<Overview>('overview')
  const status = async (headers: Record<string, string>, url = 'validate', method: 'GET' | 'POST' = 'POST'): Promise<number> => {
    const payload = method === 'POST' ? { payload: JSON.stringify({ task: 'later', text: '{}' }) } : {}
    return (await app.inject({ method, url: `/console/api/${url}`, headers, ...payload })).statusCode
  }
  const good = { host: 'localhost:3000', origin: 'http://localhost:3000', 'x-console-token': token, 'content-type': 'application/json' }

  t.test('cannot write, with or without the token', async t => {
    t.equal(await status(good), 200)
    t.equal(await status({ ...good, 'sec-fetch-site': 'same-origin' }), 200)
    const { origin, ...noOrigin } = good
    t.equal(await status({ ...noOrigin, 'sec-fetch-site': 'same-origin' }), 200)
    t.equal(await status(noOrigin), 403)
    for (const bad of ['http://evil.example', 'http://localhost', 'http://localhost:3001', 'null', '', 'http://localhost:3000.evil.example', 'file://', `${origin}/`]) {
      t.equal(await status({ ...good, origin: bad }), 403, bad)
    }
    for (const site of ['cross-site', 'same-site', 'bogus']) t.equal(await status({ ...good, 'sec-fetch-site': site }), 403, site)
    for (const bad of ['', 'x', token.slice(1), `${token}x`, token.toUpperCase()]) t.equal(await status({ ...good, 'x-console-token': bad }), 403, bad)
    const { 'x-console-token': _, ...noToken } = good
    t.equal(await status(noToken), 403)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp']) {
      t.equal(await status({ ...good, 'content-type': type }), 415, type)
    }
  })

  t.test('cannot read either, whatever the host allows', async t => {
    t.equal(await status({ host: 'localhost' }, 'overview', 'GET'), 200)
    t.equal(await status({ host: 'localhost', origin: 'http://evil.example' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'cross-site' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'none' }, 'payload?name=x', 'GET'), 400, 'typed into the address bar')
  })

  t.test('cannot come in by a name that they point to this machine', async t => {
    for (const host of ['localhost', 'LOCALHOST:1', 'a.localhost', '127.0.0.1:3000', '[::1]:3000', '192.168.0.7', 'dev.example:3000', 'Dev.Example']) {
      t.equal(await status({ host }, 'overview', 'GET'), 200, host)
    }
    for (const host of ['evil.example', 'evil.example:3000', 'localhost.evil.example', '127.0.0.1.evil.example', 'dev.example.evil', '0x7f.1.evil']) {
      t.equal(await status({ host }, 'overview', 'GET'), 403, host)
      t.equal((await app.inject({ url: '/console/', headers: { host } })).statusCode, 403, host)
    }
    const behind = await serve(t, { console: { hosts: ['dev.example'] }, server: { trustProxy: true } })
    for (const [host, forwarded, expected] of [['dev.example', 'localhost', 200], ['localhost', 'dev.example', 200], ['evil.example', 'localhost', 403], ['localhost', 'evil.example', 403]] as const) {
      t.equal((await behind.app.inject({ url: '/console/api/overview', headers: { host, 'x-forwarded-host': forwarded } })).statusCode, expected, `${host}, said to be ${forwarded}`)
    }
    const guarded = await serve(t, { console: { auth: () => {} } })
    t.equal((await guarded.app.inject({ url: '/console/', headers: { host: 'shop.example' } })).statusCode, 200, 'with auth any name will do')
  })
})

t.test('who may use it', async t => {
  const urls = ['/console/', '/console/assets/icon.svg', '/console/api/overview', '/console/api/events', '/console/api/none']

  t.test('is decided by auth, for the page and all below it', async t => {
    const refusals: Array<[string, ConsoleOptions['auth'], number]> = [
      ['throws', () => { throw Object.assign(new Error('no'), { statusCode: 418 }) }, 418],
      ['rejects', async () => { throw Object.assign(new Error('no'), { statusCode: 402 }) }, 402],
      ['answers', async (_request, reply) => await reply.code(401).header('www-authenticate', 'Basic').send('log in'), 401],
      ['answers and returns nothing', (_request, reply) => { reply.code(401).send('log in') }, 401],
      ['returns false', () => false, 401],
      ['resolves to false', async () => false, 401]
    ]
    for (const [what, auth, status] of refusals) {
      const { app } = await serve(t, { console: { auth: auth! } })
      for (const url of urls) t.equal((await app.inject(url)).statusCode, status, `${what}: ${url}`)
      t.equal((await app.inject({ method: 'POST', url: '/console/api/run', payload: {} })).statusCode, status)
    }
    for (const [what, auth, status] of refusals) {
      const { app } = await serve(t, { console: { auth: auth! }, before: app => app.addHook('onSend', async () => { await new Promise(resolve => setImmediate(resolve)) }) })
      for (const url of urls) t.equal((await app.inject(url)).statusCode, status, `${what}, and the app has a hook that takes time: ${url}`)
    }
    const { app, read } = await serve(t, { console: { auth: request => request.headers['x-user'] === 'ada' } })
    t.match(await read('overview'), { error: { code: 'FST_TASKS_UNAUTHENTICATED' } })
    t.equal((await app.inject({ url: '/console/api/overview', headers: { 'x-user': 'ada' } })).statusCode, 200)
  })

  t.test('may be decided by a hook of the instance around it, which must be there', async t => {
    const { app } = await serve(t, { console: { auth: 'inherited' }, before: app => app.addHook('onRequest', async (request, reply) => request.url.startsWith('/console') ? await reply.code(403).send() : undefined) })
    t.equal((await app.inject('/console/')).statusCode, 403)
    await t.rejects(serve(t, { console: { auth: 'inherited' } }), { code: 'FST_TASKS_INVALID_OPTION', message: /no hook/ })
  })

  t.test('must be decided in production', async t => {
    const { NODE_ENV } = process.env
    t.teardown(() => { process.env.NODE_ENV = NODE_ENV })
    process.env.NODE_ENV = 'production'
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => { await app.register(taskConsole) }, { code: 'FST_TASKS_NOT_FOR_PRODUCTION', message: /'auth'/ })
    const guarded = Fastify()
    t.teardown(() => guarded.close())
    await t.resolves(async () => { await guarded.register(taskConsole, { auth: () => false }) })
    process.env.NODE_ENV = NODE_ENV
  })

  t.test('is anybody in development, and a server that others reach says so', async t => {
    const warnings: string[] = []
    const logger = { level: 'warn', stream: { write: (line: string) => { warnings.push(line) } } }
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      const { app } = await serve(t, { server: { logger } })
      await app.listen({ port: 0, host })
      await app.close()
    }
    t.equal(warnings.filter(line => line.includes("no 'auth'")).length, 1)
  })
})

t.test('options that are unknown or wrong are refused by name', async t => {
  const bad: Array<[object, RegExp]> = [
    [{ atuh: () => {} }, /'atuh' is not known here; did you mean 'auth'/],
    [{ auth: true }, /'auth' must be a function or 'inherited'/],
    [{ history: -1 }, /'history' must be a whole number from 0 to 10000/],
    [{ history: '5' }, /'history'/],
    [{ hosts: [1] }, /'hosts'/],
    [{ title: 1 }, /'title' must be a string/]
  ]
  for (const [options, message] of bad) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => { await app.register(taskConsole, options) }, { code: 'FST_TASKS_INVALID_OPTION', message })
  }
})

t.test('a console', async t => {
  t.test('without the plugin is refused', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    app.register(taskConsole)
    await t.rejects(async () => { await app.ready() }, { code: 'FST_TASKS_PLUGIN_MISSING' })
  })

  t.test('finds the plugin of an instance above, registered before', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, transport: 'local' })
    await app.register(async child => { await child.register(taskConsole, { prefix: '/inner' }) }, { prefix: '/outer' })
    t.equal((await app.inject('/outer/inner/api/overview')).json<Overview>().tasks!.length, 4)
  })

  t.test('where the queues are in Google Cloud shows the registry', async t => {
    const client = { createTask: async () => [{}] } as unknown as NonNullable<CloudTasksOptions['client']>
    const { read } = await serve(t, { plugin: { transport: 'cloud', project: 'p', location: 'l', client, queues: {}, auth: false, target: { type: 'http', url: 'https://x.example' } } })
    t.match(await read('overview'), { queues: null, timeline: [], tasks: [{ name: 'greet' }, {}, {}, {}] })
    t.match(await read('tasks'), { error: { code: 'FST_TASKS_LOCAL_ONLY' } })
  })

  t.test('of an engine alone has queues and no registry', async t => {
    const engine = new Engine({ store: new MemoryStore(), dispatch: async () => ({ status: 500, text: HOSTILE }) })
    await engine.open()
    const name = 'projects/p/locations/l/queues/q'
    await engine.updateQueue(name)
    const app = Fastify()
    t.teardown(async () => {
      await app.close()
      await engine.close()
    })
    await app.register(engineConsole(engine, { title: 'Emulator' }), { prefix: '/' })
    await app.ready()
    engine.start()
    const task = await engine.createTask(name, { httpRequest: { url: 'http://127.0.0.1:1/work', oidcToken: { serviceAccountEmail: 'a@b.c' } } })
    await new Promise(resolve => setImmediate(resolve))
    t.match((await app.inject('/api/overview')).json(), { title: 'Emulator', tasks: null, queues: [{ name }] })
    t.match((await app.inject(`/api/task?name=${task.name}`)).json(), { url: 'http://127.0.0.1:1/work', payload: { kind: 'none' }, attemptList: [{ result: 500, text: HOSTILE }] })
    const { token } = (await app.inject('/api/overview')).json<Overview>()
    const response = await app.inject({ method: 'POST', url: '/api/run', headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': token }, payload: { task: 'x', text: '{}' } })
    t.equal(response.statusCode, 501)
  })

  t.test('at the root of an emulator leaves the rest as it is, and does not keep it from closing', async t => {
    const before = process.env.NODE_ENV
    process.env.NODE_ENV = 'production'
    const emulator = createEmulator({ port: 0, queues: ['projects/p/locations/l/queues/q'], plugin: engine => async app => { await app.register(engineConsole(engine), { prefix: '/' }) } })
    t.teardown(async () => {
      await emulator.close()
      if (before === undefined) delete process.env.NODE_ENV
      else process.env.NODE_ENV = before
    })
    const url = await emulator.listen()
    const name = 'projects/p/locations/l/queues/q'
    t.match(await (await fetch(url)).text(), /<!doctype html>/i)
    const { token, queues } = await (await fetch(`${url}/api/overview`)).json() as Overview
    t.match(queues, [{ name, state: 'RUNNING' }])
    const change = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(`${url}/api/queue/pause`, { method: 'POST', headers: { 'content-type': 'application/json', origin: url, ...headers }, body: JSON.stringify({ name }) })).status
    t.equal(await change({}), 403)
    t.equal(await change({ 'x-console-token': token, origin: 'http://elsewhere.example' }), 403)
    t.match(await (await fetch(`${url}/v2/${name}`)).json(), { state: 'RUNNING' })
    t.equal(await change({ 'x-console-token': token }), 200)
    t.match(await (await fetch(`${url}/v2/${name}`)).json(), { state: 'PAUSED' })
    t.match(await (await fetch(`${url}/nowhere`)).json(), { error: { status: 'NOT_FOUND' } }, "in Google's form")

    const [events] = await once(get(`${url}/api/events`), 'response') as [IncomingMessage]
    const ended = once(events.resume(), 'end')
    await emulator.close()
    await ended
  })

  t.test('hears of its own app only, when there are several in the process', async t => {
    const attempts = watchAttempts(t)
    const one = await serve(t)
    const two = await serve(t)
    await one.enqueue('fail', { text: 'one' }, { id: 'same' })
    await two.enqueue('fail', { text: 'two' }, { id: 'same' })
    await attempts.ended(2)
    await one.read('overview')
    for (const [served, text] of [[one, 'one'], [two, 'two']] as const) {
      const { tasks } = await served.read<TaskPage>('tasks')
      t.equal(tasks.length, 1)
      t.match((await served.read<TaskDetail>(`task?name=${tasks[0]!.name}`)).attemptList, [{ error: { message: text }, logs: [{ message: text }, {}] }])
    }
  })

  t.test('is in no OpenAPI document, and quiet in the log', async t => {
    const lines: string[] = []
    const { app } = await serve(t, { before: app => app.register(swagger as never), server: { logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } } } })
    t.same(Object.keys((app as unknown as { swagger: () => { paths?: object } }).swagger().paths ?? {}), [])
    lines.length = 0
    await app.inject('/console/')
    await app.inject('/console/api/overview')
    t.same(lines, [])
  })
})

t.test('events', async t => {
  const listen = async (t: Test, app: FastifyInstance): Promise<{ response: IncomingMessage, messages: LiveMessage[], ended: Promise<unknown> }> => {
    if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const request = get({ host: '127.0.0.1', port, path: '/console/api/events' })
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response') as [IncomingMessage]
    const messages: LiveMessage[] = []
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const [, data] = /^event: live\ndata: (.*)$/.exec(text.slice(0, end)) ?? []
        if (data !== undefined) messages.push(JSON.parse(data))
        text = text.slice(end + 2)
      }
    })
    response.on('error', () => {}) // Of those that the test cuts.
    return { response, messages, ended: new Promise(resolve => { response.on('close', resolve) }) }
  }

  t.test('tell what changed, at most four times a second, and nothing while nothing happens', async t => {
    const attempts = watchAttempts(t)
    const { app, enqueue, write } = await serve(t)
    const { response, messages } = await listen(t, app)
    t.match(response.headers, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'content-security-policy': /default-src 'none'/ })
    const startedAt = Date.now()
    let count = 0
    while (Date.now() - startedAt < 900) {
      await enqueue('greet', { name: 'Ada', times: 1 })
      await attempts.ended(++count)
    }
    await new Promise(resolve => setTimeout(resolve, 400))
    const told = messages.length
    t.ok(told >= 3 && told <= 6, `${told} messages in 1.3 s for ${count} tasks`)
    t.ok(messages.every(({ changed }) => changed.length <= 50))
    t.match(messages.at(-1)!.changed.at(-1), { task: 'greet', state: 'done' })
    t.equal(messages.at(-1)!.timeline.length, 5)
    t.match(messages.at(-1)!.queues, [{ id: 'default', waiting: 0, running: 0 }, { id: 'slow' }])
    await new Promise(resolve => setTimeout(resolve, 600))
    t.equal(messages.length, told, 'silence')
    await write('queue/pause', { name: queue('slow') })
    await new Promise(resolve => setTimeout(resolve, 400))
    t.match(messages.at(-1)!.queues, [{}, { id: 'slow', state: 'PAUSED' }])
  })

  t.test('end when the server closes, which they do not hold up', async t => {
    const { app } = await serve(t)
    const { ended } = await listen(t, app)
    const before = Date.now()
    await Promise.all([app.close(), ended])
    t.ok(Date.now() - before < 2000)
  })

  t.test('are not queued for a page that does not read; it is told to load again', async t => {
    const live = new Live(() => ({ pad: 'x'.repeat(1_000_000) }))
    const responses: ServerResponse[] = []
    const server = createServer((_request, response) => {
      responses.push(response)
      response.writeHead(200)
      live.join(response)
    }).listen(0, '127.0.0.1')
    t.teardown(() => {
      live.close()
      server.closeAllConnections()
      server.close()
    })
    await once(server, 'listening')
    const request = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
    const [response] = await once(request, 'response') as [IncomingMessage]
    response.pause()
    for (let round = 0; round < 40 && responses[0]!.writableLength < 1_000_000; round++) {
      live.change()
      await new Promise(resolve => setTimeout(resolve, 260))
    }
    for (let round = 0; round < 3; round++) {
      live.change()
      await new Promise(resolve => setTimeout(resolve, 260))
    }
    t.ok(responses[0]!.writableLength < 2_100_000, `${responses[0]!.writableLength} bytes wait`)
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => { text = (text + chunk).slice(-100) })
    response.resume()
    while (!text.endsWith('event: reload\ndata: {}\n\n')) await once(response, 'data')
    request.destroy()
  })

  t.test('have no HEAD, which would hold a place for ever', async t => {
    const { app } = await serve(t)
    t.equal((await app.inject({ method: 'HEAD', url: '/console/api/events' })).statusCode, 404)
    t.equal((await app.inject({ method: 'HEAD', url: '/console/api/overview' })).statusCode, 200)
  })

  t.test('go to a hundred pages and no more', async t => {
    const { app } = await serve(t)
    const pages = [await listen(t, app), ...await Promise.all(Array.from({ length: 99 }, async () => await listen(t, app)))]
    t.ok(pages.every(({ response }) => response.statusCode === 200))
    t.equal((await listen(t, app)).response.statusCode, 503)
  })
})
