import t from 'tap'
import type { Overview, RunReport, TaskDetail, TaskPage, TaskRow, Validation } from '../../../lib/console/api/api.js'
import { testTasks } from '../../../lib/testing/index.js'
import { watchAttempts } from '../../support/app.js'
import { HOSTILE, queue, serve, tasks } from '../console-app.js'

t.test('the overview has the registry and the queues', async t => {
  const { read, enqueue } = await serve(t, { console: { title: 'Shop' } })
  await enqueue('later', {}, { scheduleDelaySeconds: 100 })
  const overview = await read<Overview>('overview')
  t.match(overview, { title: 'Shop', token: /^[\w-]{43}$/ })
  t.match(overview.tasks![0], {
    name: 'greet',
    method: 'POST',
    path: '/tasks/greet',
    queue: 'default',
    handler: true,
    counts: { done: 0 }
  })
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
  t.same(
    await validate('{ "name": "Ada", "tags": { "a/b": "x" } }'),
    { ok: false, errors: [{ path: '/tags/a~1b', message: 'must be integer' }] },
    'keys are shown to their author'
  )
  t.match(await validate('{ "name": '), { ok: false, errors: [{ path: '', message: /not valid JSON/ }] })
  t.match(await validate(''), { ok: false, errors: [{ path: '', message: 'The payload is empty' }] })
  t.match(await validate('{ "name": "Ada", "__proto__": { "x": 1 } }'), { ok: false, errors: [{ path: '', message: /__proto__/ }] })
  t.match(await validate('{}', 'great'), { error: { code: 'FST_TASKS_NOT_REGISTERED', message: /did you mean 'greet'/ } })
  t.match(await write('validate', { task: 'greet' }), { error: { code: 'FST_TASKS_CONSOLE_REQUEST', message: /'text' is required/ } })
  t.match(await write('validate', [1]), { error: { code: 'FST_TASKS_CONSOLE_REQUEST' } })
  t.equal(
    (await app.inject({ method: 'POST', url: '/console/api/validate', headers: { host: 'localhost' }, payload: {} })).statusCode,
    403
  )
})

t.test('a task is run here and now', async t => {
  const { write, app } = await serve(t)
  const run = async (task: string, payload: unknown): Promise<RunReport> => await write('run', { task, text: JSON.stringify(payload) })
  const done = await run('greet', { name: HOSTILE })
  t.match(done, { outcome: 'done', logs: [{ level: 'info', message: `hello ${HOSTILE}` }] })
  t.same(JSON.parse(done.value!), { greeted: HOSTILE, times: 1 }, 'the handler got the default')
  t.equal(done.logs.length, 1, 'there is no request in a run')
  t.match(JSON.parse((await run('greet', { name: 'odd' })).value!), { big: '1' })
  t.match(JSON.parse((await run('greet', { name: 'circular' })).value!), /without a JSON representation/)
  t.notOk((await run('later', {})).value)
  t.match(await run('greet', {}), { outcome: 'invalid', faults: [{ path: '/name' }], logs: [] })
  t.match(await run('fail', { text: HOSTILE }), {
    outcome: 'failed',
    error: { message: HOSTILE, code: HOSTILE, stack: /console-app\.ts/, causes: [{ name: 'TypeError', message: 'the cause' }] },
    logs: [{ level: 'error', message: HOSTILE }]
  })
  t.match(await run('drop', { reason: 'no use' }), { outcome: 'dropped', dropReason: 'no use' })
  const producer = await serve(t, { plugin: { handlers: {} } })
  t.match(await producer.write('run', { task: 'later', text: '{}' }), { error: { code: 'FST_TASKS_NO_HANDLER' } })
  t.ok(app)
})

t.test("a run shows what the plugin's logLevel lets through", async t => {
  const logger = { level: 'info', stream: { write () {} } }
  for (const [logLevel, shown] of [['warn', []], ['info', ['hello Ada']]] as const) {
    const { write } = await serve(t, { plugin: { logLevel }, server: { logger } })
    const { logs } = await write<RunReport>('run', { task: 'greet', text: '{"name":"Ada"}' })
    t.strictSame(logs.map(({ message }) => message), shown, logLevel)
  }
})

t.test('a task is enqueued with delay and id', async t => {
  const { write, read } = await serve(t)
  const text = '{ "name": "Ada" }'
  const first = await write<{ name: string, scheduleAt: number }>('enqueue', { task: 'greet', text, id: 'one', scheduleDelaySeconds: 60 })
  t.match(first, { id: /-one$/, queue: queue('default'), duplicate: false })
  t.ok(Math.abs(first.scheduleAt - Date.now() - 60_000) < 5000)
  t.match(await write('enqueue', { task: 'greet', text, id: 'one' }), { duplicate: true })
  t.match(await read(`task?name=${first.name}`), {
    state: 'waiting',
    task: 'greet',
    payload: { text: '{"name":"Ada"}', kind: 'json' },
    attemptList: [],
    omitted: 0
  })
  t.match(await write('enqueue', { task: 'greet', text: '{}' }), { error: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  t.match(await write('enqueue', { task: 'greet', text: '{' }), { error: { message: /JSON/ } })
  t.match(await write('enqueue', { task: 'greet', text, id: 1 }), {
    error: { code: 'FST_TASKS_CONSOLE_REQUEST', message: /'id' must be a string/ }
  })
  t.match(await write('enqueue', { task: 'greet', text, scheduleDelaySeconds: 1e9 }), {
    error: { message: /'scheduleDelaySeconds' must be/ }
  })
})

t.test('attempts', async t => {
  const attempts = watchAttempts(t)
  const { enqueue, read, write, app } = await serve(t, { server: { logger: { level: 'info', stream: { write () {} } } } })
  const kit = testTasks(app, tasks)
  await enqueue(
    'fail',
    { text: HOSTILE },
    { headers: { 'x-trace': HOSTILE.replaceAll(/[^\x20-\x7e]/g, ''), authorization: 'Bearer secret', 'x-api-key': 'secret' } }
  )
  await enqueue('greet', { name: 'Ada', times: 1 })
  await enqueue('drop', { reason: HOSTILE })
  await kit.drain()
  let failed: TaskRow

  t.test('that failed show their log lines, their error and its cause, and no secret', async t => {
    const { tasks } = await read<TaskPage>('tasks?state=retrying')
    failed = tasks[0]!
    t.match(failed, { task: 'fail', url: '/tasks/fail', state: 'retrying', attempts: 1, lastResult: 500, queue: queue('slow') })
    const detail = await read<TaskDetail>(`task?name=${failed.name}`)
    t.match(detail.attemptList, [
      {
        number: 1,
        result: 500,
        error: { name: 'Error', message: HOSTILE, code: HOSTILE, stack: /console-app\.ts/, causes: [{ name: 'TypeError' }] },
        logs: [
          { level: 'error', message: HOSTILE, fields: '{"part":"child"}' },
          { level: 'warn', message: 'attempt failed, it will be retried' }
        ]
      }
    ])
    t.ok(detail.attemptList[0]!.retryAt! > Date.now())
    t.match(detail.headers, { 'x-trace': /script/, authorization: '[hidden]', 'x-api-key': '[hidden]' })
    t.match(detail.attemptList[0]!.headers, { 'X-CloudTasks-QueueName': 'slow', authorization: '[hidden]' })
    t.notMatch(JSON.stringify(detail), /Bearer|fastify-cloud-tasks-secret/)
  })

  t.test('that went well show their log lines, those of the request included', async t => {
    const { tasks } = await read<TaskPage>('tasks?state=done')
    t.match(tasks, [{ task: 'greet', state: 'done', lastResult: 204 }])
    const { attemptList, payload } = await read<TaskDetail>(`task?name=${tasks[0]!.name}`)
    t.match(attemptList, [
      {
        result: 204,
        logs: [
          { level: 'info', message: 'hello Ada', fields: '{"name":"Ada"}' },
          { level: 'warn', message: 'by the request' }
        ]
      }
    ])
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
    await kit.drain()
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
  const { enqueue, read, write, app } = await serve(t)
  const kit = testTasks(app, tasks)
  const names: string[] = []
  for (let count = 0; count < 75; count++) {
    const { id } = await enqueue('greet', { name: `${HOSTILE}${'€'.repeat(300_000)}`, times: 1 })
    names.push(`${queue('default')}/tasks/${id}`)
  }
  await kit.drain()
  const last = await read<TaskDetail>(`task?name=${names.at(-1)!}`)
  t.match(last.payload, { cut: true, kind: 'json' })
  t.ok(Buffer.byteLength(last.payload.text) <= 16_384)
  const whole = await app.inject(`/console/api/payload?name=${names.at(-1)!}`)
  t.match(whole.headers, {
    'content-type': 'text/plain; charset=utf-8',
    'content-disposition': /^attachment; filename="\d+\.txt"$/,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store'
  })
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

t.test('a console only shows its own app if there are several in the process', async t => {
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
    t.match((await served.read<TaskDetail>(`task?name=${tasks[0]!.name}`)).attemptList, [
      { error: { message: text }, logs: [{ message: text }, {}] }
    ])
  }
})

const until = new Date(Date.now() + 3_600_000)
const handlers = { later (payload: unknown, task: { retryAfter (until: Date, reason: string): never }) { task.retryAfter(until, 'asked to wait') } }

t.test('a postponed task has ended as such, with the time of its copy, which waits', async t => {
  const { app, enqueue, read } = await serve(t, { plugin: { handlers: handlers as never } })
  const kit = testTasks(app, tasks)
  const { id } = await enqueue('later', {})
  await kit.drain()
  const { tasks: ended } = await read<TaskPage>('tasks?state=postponed')
  t.hasStrict(ended, [{ id, state: 'postponed', lastResult: 200 }])
  const { attemptList } = await read<TaskDetail>(`task?name=${encodeURIComponent(ended[0]!.name)}`)
  t.hasStrict(attemptList, [{ result: 200, postponedUntil: until.getTime(), postponeReason: 'asked to wait' }])
  const { tasks: waiting } = await read<TaskPage>('tasks?state=waiting')
  t.hasStrict(waiting, [{ task: 'later', attempts: 0, scheduleAt: until.getTime() }])
  const overview = await read<Overview>('overview')
  t.hasStrict(overview.tasks!.find(({ name }) => name === 'later')!.counts, { done: 0, postponed: 1, exhausted: 0 })
})

t.test('a run of a task that its handler postpones says when it would run', async t => {
  const { read, write } = await serve(t, { plugin: { handlers: handlers as never } })
  const report = await write<RunReport>('run', { task: 'later', text: '{}' })
  t.hasStrict(report, { outcome: 'postponed', postponedUntil: until.getTime(), postponeReason: 'asked to wait' })
  t.strictSame((await read<TaskPage>('tasks?state=pending')).tasks, [], 'nothing was enqueued')
})
