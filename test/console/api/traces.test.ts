import Fastify from 'fastify'
import t from 'tap'
import type { TaskDetail, TaskPage } from '../../../lib/console/api/api.js'
import taskConsole from '../../../lib/console/plugin.js'
import { handleOf } from '../../../lib/plugin-handle.js'
import { startSdk } from '../../otel/sdk.js'
import { watchAttempts } from '../../support/app.js'
import { queue, serve } from '../console-app.js'

t.test('a task shows the trace that it was enqueued in, each attempt its own, with links by traceUrl', async t => {
  const sdk = startSdk(t)
  const attempts = watchAttempts(t)
  const { read, enqueue } = await serve(t, { console: { traceUrl: 'https://traces.example/{traceId}?from=a&id={traceId}' } })
  const { id } = await enqueue('greet', { name: 'Ada', times: 1 })
  await attempts.ended(1)
  const [send, attempt] = sdk.spans().map(({ traceId }) => traceId)
  t.not(send, attempt)
  const url = (traceId: string | undefined) => `https://traces.example/${traceId}?from=a&id=${traceId}`
  const detail = await read<TaskDetail>(`task?name=${queue('default')}/tasks/${id}`)
  t.strictSame(detail.trace, { id: send, url: url(send) })
  t.strictSame(detail.attemptList.map(({ trace }) => trace), [{ id: attempt, url: url(attempt) }])
})

t.test('where the queues are in Google Cloud, the headers of attempts name the trace', async t => {
  const client = { createTask: async () => [{}] } as never
  const { app, read } = await serve(t, {
    plugin: { transport: 'cloud', project: 'p', location: 'l', client, auth: false, target: { type: 'http', url: 'https://x.example' } }
  })
  const traceId = 'ab'.repeat(16)
  const headers = {
    'content-type': 'application/json',
    'fastify-cloud-tasks-traceparent': `00-${traceId}-${'c'.repeat(16)}-01`,
    'x-cloudtasks-queuename': 'default',
    'x-cloudtasks-taskname': '1',
    'x-cloudtasks-tasketa': '1800000000.5'
  }
  await app.inject({ method: 'POST', url: '/tasks/greet', payload: '{"name":"Ada"}', headers })
  const [task] = (await read<TaskPage>('tasks?state=done')).tasks
  const detail = await read<TaskDetail>(`task?name=${task!.name}`)
  t.strictSame(detail.trace, { id: traceId }, 'without traceUrl there is no link')
  t.notOk('trace' in detail.attemptList[0]!, 'no tracer was there')
})

t.test('a header that names no trace is shown as a header only', async t => {
  const { app, read } = await serve(t, { console: { traceUrl: 'https://traces.example/{traceId}' } })
  const { engine } = handleOf(app)!.local!
  const bad = ['javascript:alert(1)', `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`, `00-${'<'.repeat(32)}-${'b'.repeat(16)}-01`]
  for (const value of bad) {
    const { name } = await engine.createTask(queue('slow'), {
      scheduleAt: engine.clock.now() + 3_600_000,
      httpRequest: { url: 'http://localhost/tasks/later', headers: { 'fastify-cloud-tasks-traceparent': value } }
    })
    t.notOk('trace' in await read<TaskDetail>(`task?name=${name}`), value)
  }
})

t.test('traceUrl must be a URL of http or https with {traceId} in it', async t => {
  for (const traceUrl of ['https://traces.example/', '/traces/{traceId}', 'javascript:alert("{traceId}")', '{traceId}', '', 1]) {
    const app = Fastify()
    t.teardown(() => app.close())
    const refused = { code: 'FST_TASKS_INVALID_OPTION', message: /'traceUrl' must be an http or https URL that contains '\{traceId\}'/ }
    await t.rejects(async () => { await app.register(taskConsole, { traceUrl } as object) }, refused, String(traceUrl))
  }
})
