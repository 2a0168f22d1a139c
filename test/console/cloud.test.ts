import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { ApiError, Overview, TaskDetail, TaskPage } from '../../lib/console/api/api.js'
import type { CloudTasksOptions } from '../../lib/index.js'
import { HOSTILE, serve, type Served } from './console-app.js'

const queues = 'projects/p/locations/l/queues'
const client = { createTask: async () => [{}] } as unknown as NonNullable<CloudTasksOptions['client']>

async function serveCloud (t: Test, plugin: Partial<CloudTasksOptions> = {}): Promise<Served> {
  return await serve(t, {
    server: { logger: { level: 'info', stream: { write () {} } } },
    plugin: {
      transport: 'cloud',
      project: 'p',
      location: 'l',
      client,
      queues: { default: {}, slow: { retryConfig: { maxAttempts: 2 } } },
      auth: false,
      target: { type: 'http', url: 'https://x.example' },
      ...plugin
    }
  })
}

/** An attempt as Cloud Tasks sends it. */
async function deliver (
  app: FastifyInstance,
  task: string,
  body: string,
  { id = '1', queue = 'default', attempt = 1 } = {}
): Promise<number> {
  const { statusCode } = await app.inject({
    method: 'POST',
    url: `/tasks/${task}`,
    payload: body,
    headers: {
      'content-type': 'application/json',
      authorization: 'Bearer secret',
      'x-cloudtasks-queuename': queue,
      'x-cloudtasks-taskname': id,
      'x-cloudtasks-taskretrycount': String(attempt - 1),
      'x-cloudtasks-taskexecutioncount': '0',
      'x-cloudtasks-tasketa': '1800000000.5'
    }
  })
  return statusCode
}

t.test('where the queues are in Google Cloud, the attempts that this process served are shown', async t => {
  const { app, read } = await serveCloud(t)
  t.equal(await deliver(app, 'greet', '{ "name": "Ada" }', { id: 'done' }), 204)
  t.equal(await deliver(app, 'drop', '{"reason":"no use"}', { id: 'dropped' }), 200)
  t.equal(await deliver(app, 'fail', JSON.stringify({ text: HOSTILE }), { id: 'failing', queue: 'slow' }), 500)
  t.equal(await deliver(app, 'greet', '{"name":', { id: 'broken' }), 400)

  t.test('with their log lines, the request as it came, and no secret', async t => {
    const detail = await read<TaskDetail>(`task?name=${queues}/default/tasks/done`)
    t.match(detail, { task: 'greet', url: '/tasks/greet', method: 'POST', queue: `${queues}/default`, attempts: 1, omitted: 0 })
    t.equal(detail.state, 'done')
    t.equal(detail.lastResult, 204)
    t.equal(detail.payload.text, '{ "name": "Ada" }')
    t.equal(detail.payload.kind, 'json')
    t.equal(detail.headers, undefined)
    t.equal(detail.createdAt, undefined)
    const [attempt] = detail.attemptList
    t.strictSame(attempt!.logs.map(({ message }) => message), ['hello Ada', 'by the request'])
    t.equal(attempt!.headers['x-cloudtasks-taskname'], 'done')
    t.equal(attempt!.headers.authorization, '[hidden]')
    t.notMatch(JSON.stringify(detail), 'Bearer')
  })

  t.test('with their errors and the reasons of drops', async t => {
    const failing = await read<TaskDetail>(`task?name=${queues}/slow/tasks/failing`)
    t.equal(failing.state, 'retrying')
    t.equal(failing.scheduleAt, undefined, 'only Cloud Tasks knows when')
    t.equal(failing.attemptList[0]!.result, 500)
    t.match(failing.attemptList[0]!.error, { message: HOSTILE, code: HOSTILE, causes: [{ name: 'TypeError' }] })
    t.equal(failing.attemptList[0]!.logs[0]!.message, HOSTILE)
    t.equal(failing.payload.text, JSON.stringify({ text: HOSTILE }))
    const dropped = await read<TaskDetail>(`task?name=${queues}/default/tasks/dropped`)
    t.equal(dropped.state, 'dropped')
    t.equal(dropped.attemptList[0]!.dropReason, 'no use')
    const broken = await read<TaskDetail>(`task?name=${queues}/default/tasks/broken`)
    t.equal(broken.attemptList[0]!.result, 400)
    t.equal(broken.payload.text, '{"name":')
  })

  t.test('by state, and as a timeline', async t => {
    const ids = async (query: string): Promise<string[]> => (await read<TaskPage>(`tasks?${query}`)).tasks.map(({ id }) => id)
    t.strictSame(await ids('state=ended'), ['dropped', 'done'])
    t.strictSame(await ids('state=pending'), ['broken', 'failing'])
    t.strictSame(await ids(`state=retrying&queue=${queues}/slow`), ['failing'])
    const { timeline, queues: none, tasks } = await read<Overview>('overview')
    t.equal(none, null)
    t.equal(tasks!.length, 4)
    const sum = (key: 'succeeded' | 'failed' | 'waiting' | 'arrived'): number => timeline.reduce((total, bucket) => total + bucket[key], 0)
    t.strictSame([sum('succeeded'), sum('failed'), sum('waiting'), sum('arrived')], [2, 2, 0, 0])
  })

  t.test('and later ones of the same task join it', async t => {
    t.equal(await deliver(app, 'fail', '{"text":"again"}', { id: 'failing', queue: 'slow', attempt: 2 }), 500)
    const detail = await read<TaskDetail>(`task?name=${queues}/slow/tasks/failing`)
    t.strictSame(detail.attemptList.map(({ number }) => number), [1, 2])
    await deliver(app, 'fail', '{"text":"late"}', { id: 'late', queue: 'slow', attempt: 2 })
    t.equal((await read<TaskDetail>(`task?name=${queues}/slow/tasks/late`)).omitted, 1, 'another process served the first')
  })
})

t.test('what only Cloud Tasks can do is rejected, with the command for it', async t => {
  const { app, read, write } = await serveCloud(t)
  await deliver(app, 'greet', '{"name":"Ada"}', { id: 'done' })
  const name = `${queues}/default/tasks/done`
  for (const [path, body, command] of [
    ['queue/pause', { name: `${queues}/default` }, 'gcloud tasks queues pause'],
    ['queue/resume', { name: `${queues}/default` }, 'gcloud tasks queues resume'],
    ['queue/purge', { name: `${queues}/default` }, 'gcloud tasks queues purge'],
    ['task/run', { name }, 'gcloud tasks run'],
    ['task/delete', { name }, 'gcloud tasks delete'],
    ['task/copy', { name }, 'gcloud tasks create-http-task']
  ] as const) {
    const { error } = await write<{ error: ApiError }>(path, body)
    t.equal(error.code, 'FST_TASKS_CONSOLE_REQUEST', path)
    t.match(error.message, command, path)
  }
  t.equal((await read<{ error: ApiError }>('tasks?state=waiting')).error.code, 'FST_TASKS_CONSOLE_REQUEST')
  t.equal((await read<{ error: ApiError }>(`task?name=${queues}/default/tasks/none`)).error.code, 'NOT_FOUND')
  t.equal((await app.inject(`/console/api/payload?name=${name}`)).body, '{"name":"Ada"}')
})

t.test('tasks that this process served and that have ended are kept up to the option history', async t => {
  const { app, read } = await serve(t, {
    console: { history: 2 },
    plugin: {
      transport: 'cloud',
      project: 'p',
      location: 'l',
      client,
      queues: {},
      auth: false,
      target: { type: 'http', url: 'https://x.example' }
    }
  })
  for (const id of ['1', '2', '3']) await deliver(app, 'greet', '{"name":"Ada"}', { id })
  t.strictSame((await read<TaskPage>('tasks?state=ended')).tasks.map(({ id }) => id), ['3', '2'])
  t.equal((await read<Overview>('overview')).history, 2)
})
