import t from 'tap'
import type { Overview, RunReport, TaskDetail, TaskPage } from '../../lib/console/api/api.js'
import { testTasks } from '../../lib/testing/index.js'
import { serve, tasks } from './console-app.js'

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
