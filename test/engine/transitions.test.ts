import t from 'tap'
import { completeRetryConfig } from '../../lib/cloud-tasks/limits.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { afterDispatch, afterFailure, afterUndelivered, isGivenUp, isSuccess, type AttemptStart } from '../../lib/engine/transitions.js'

const stored: Task = {
  name: 'projects/p/locations/l/queues/q/tasks/t',
  httpRequest: { url: 'http://localhost/' },
  scheduleAt: 1000,
  createdAt: 0,
  dispatchCount: 0,
  responseCount: 0,
  executionCount: 0
}
const retry = completeRetryConfig({ minBackoffSeconds: 1 })
const first = { scheduleAt: 1000, dispatchAt: 1500 }
const start: AttemptStart = { ...first, forced: false, lastAttempt: undefined }

t.test('any 2xx is success, nothing else is', async t => {
  for (const end of [200, 204, 299]) t.equal(isSuccess(end), true, String(end))
  for (const end of [100, 199, 300, 404, 500, 'deadline', 'unreachable'] as const) t.equal(isSuccess(end), false, String(end))
})

t.test('a dispatch is counted, and the first and the last attempt are kept', async t => {
  const once = afterDispatch(stored, 1500)
  t.strictSame(once, { ...stored, dispatchCount: 1, firstAttempt: first, lastAttempt: first })
  const twice = afterDispatch({ ...once, scheduleAt: 3000 }, 3500)
  const last = { scheduleAt: 3000, dispatchAt: 3500 }
  t.strictSame(twice, { ...stored, scheduleAt: 3000, dispatchCount: 2, firstAttempt: first, lastAttempt: last })
})

t.test('an attempt that was not delivered leaves the task as it was', async t => {
  t.strictSame(afterUndelivered(afterDispatch(stored, 1500), start), stored)
  const failed = afterFailure(afterDispatch(stored, 1500), start, 503, retry, 2000)
  const again = afterDispatch(failed, 3000)
  t.strictSame(afterUndelivered(again, { scheduleAt: 3000, dispatchAt: 3000, forced: false, lastAttempt: failed.lastAttempt }), failed)
  const other = { scheduleAt: 3000, dispatchAt: 3200 }
  t.strictSame(afterUndelivered({ ...again, dispatchCount: 3, lastAttempt: other }, start), { ...again, lastAttempt: other },
    'another attempt that started in the meantime stays the last')
})

t.test('attempts of one task at a time that were all not delivered leave the task as it was, in any order', async t => {
  for (const times of [[1500, 1600, 1700], [1500, 1500, 1500]]) {
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]]) {
      const starts: AttemptStart[] = []
      let task = stored
      for (const dispatchAt of times) {
        starts.push({ scheduleAt: 1000, dispatchAt, forced: true, lastAttempt: task.lastAttempt })
        task = afterDispatch(task, dispatchAt)
      }
      for (const index of order) task = afterUndelivered(task, starts[index]!)
      t.strictSame(task, stored, `${times.join()}, ${order.join()}`)
    }
  }
})

t.test('a failed attempt is counted by its end, and due again a backoff after it', async t => {
  const dispatched = afterDispatch(stored, 1500)
  const appEngine: Task = { ...dispatched, appEngineHttpRequest: {} }
  delete (appEngine as { httpRequest?: unknown }).httpRequest
  const table = [
    [dispatched, 404, 1, 1, 404, 5], [dispatched, 499, 1, 1, 499, 1], [dispatched, 500, 1, 0, 500, 13], [dispatched, 503, 1, 0, 503, 14],
    [appEngine, 404, 1, 1, 404, 5], [appEngine, 500, 1, 1, 500, 13],
    [dispatched, 'deadline', 0, 0, 0, 4], [dispatched, 'unreachable', 0, 0, 0, 14]
  ] as const
  for (const [task, end, responseCount, executionCount, previousResponse, code] of table) {
    const after = afterFailure(task, start, end, retry, 2000)
    t.strictSame({ ...after, lastAttempt: undefined }, {
      ...task, scheduleAt: 3000, responseCount, executionCount, previousResponse, lastAttempt: undefined
    }, String(end))
    const { responseStatus, ...times } = after.lastAttempt!
    t.equal(responseStatus?.code, code)
    t.strictSame(times, typeof end === 'number' ? { ...first, responseAt: 2000 } : first)
  }
  t.equal(afterFailure(dispatched, { ...start, forced: true }, 503, retry, 2000).scheduleAt, 2500, 'after RunTask: of the call')
})

t.test('a task is given up by its number of attempts and the time since the first', async t => {
  const task = { ...afterDispatch(stored, 1500), dispatchCount: 3 }
  t.equal(isGivenUp(task, completeRetryConfig({ maxAttempts: 3 }), 2000), true)
  t.equal(isGivenUp(task, completeRetryConfig({ maxAttempts: 4 }), 2000), false)
  const limited = completeRetryConfig({ maxAttempts: -1, maxRetrySeconds: 10 })
  t.equal(isGivenUp(task, limited, 11_500), false)
  t.equal(isGivenUp(task, limited, 11_501), true)
})
