import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { printOrigin } from '../../lib/copies/facts.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import { defineTasks, tasksOf, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { start, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Any() }, change: { path: '/users/change', method: 'PUT', payload: Type.Any() } })
const once = { default: { retryConfig: { maxAttempts: 1 } } }

/** An app on the embedded queue whose tasks fail, with a letter of `work` for each payload. */
async function startWithLetters (t: Test, payloads: readonly unknown[], options: Partial<CloudTasksOptions> = {}) {
  const attempts = watchAttempts(t)
  let fails = true
  const runs: Array<{ payload: unknown, method: string, deadlineMs: number }> = []
  const handler = (payload: unknown, task: TaskContext) => {
    runs.push({ payload, method: task.request!.method, deadlineMs: task.deadline.getTime() - Date.now() })
    if (fails) throw Object.assign(new Error('no'), { code: `E_${String((payload as { code?: string }).code ?? 'NO')}` })
  }
  const { app, log } = await start(t, {
    tasks, deadLetterQueue: 'dead', queues: once, handlers: { work: handler, change: handler }, logLevel: 'fatal', ...options
  } as CloudTasksOptions)
  await Promise.all(payloads.map(payload => app.enqueue('work', payload, { dispatchDeadlineSeconds: 60 })))
  await attempts.ended(payloads.length)
  attempts.ends.length = runs.length = 0
  const succeed = () => { fails = false }
  return { app, log, attempts, runs, letters: app.tasks.deadLetters, succeed, transport: handleOf(app)!.transport }
}

t.test('a filter of more than a page replays each letter once, also where all of them fail again at once', async t => {
  const count = 1003
  const { app, attempts, letters, runs } = await startWithLetters(t, Array.from({ length: count }, (_, n) => ({ n })))
  const before = new Set((await letters.list({ pageSize: 1000 })).letters.map(({ id }) => id))
  const progress: Array<{ looked: number, done: number }> = []
  const results = await letters.replay({ code: 'E_NO' }, { onProgress: one => { progress.push(one) } })
  await attempts.ended(count)
  t.equal(results.length, count)
  t.ok(results.every(({ outcome }) => outcome === 'replayed'))
  t.equal(new Set(results.map(({ id }) => id)).size, count)
  t.equal(new Set(runs.map(({ payload }) => (payload as { n: number }).n)).size, count)
  t.strictSame(progress.slice(0, 3), [{ looked: 1000, done: 0 }, { looked: count, done: 0 }, { looked: count, done: 16 }])
  t.strictSame(progress.at(-1), { looked: count, done: count })
  const after: string[] = []
  for (let pageToken: string | undefined; ;) {
    const page = await letters.list({ pageSize: 400, pageToken } as object)
    after.push(...page.letters.map(({ id }) => id))
    if ((pageToken = page.nextPageToken) === undefined) break
  }
  t.equal(new Set(after).size, count)
  t.notOk(after.some(id => before.has(id)), 'the letters of the replays are new')
  t.equal(app.tasks.counts().default!.waiting, 0)
})

t.test('letters are chosen by task, time and code, one, several or all of them', async t => {
  const { letters, runs, succeed } = await startWithLetters(t, [{ code: 'A' }, { code: 'A' }, { code: 'B' }])
  const all = (await letters.list()).letters
  const times = all.map(({ time }) => time!.getTime())
  const [first, last] = [Math.min(...times), Math.max(...times)]
  const count = async (filter: object) => (await letters.list(filter)).letters.length
  t.equal(await count({ code: 'E_A' }), 2)
  t.equal(await count({ code: 'E_A', task: 'work' }), 2)
  t.equal(await count({ task: 'change' }), 0)
  t.equal(await count({ task: 'never there' }), 0)
  t.equal(await count({ before: new Date(first) }), 0)
  t.equal(await count({ before: new Date(last + 1) }), 3)
  t.equal(await count({ after: new Date(last + 1) }), 0)
  t.equal(await count({ after: new Date(first), before: new Date(last + 1), code: 'E_B' }), 1)
  t.strictSame(await letters.discard([]), [])
  succeed()
  const [one, two, three] = all.map(({ id }) => id)
  t.strictSame(await letters.replay([one!, 'unknown', one!]), [{ id: one, outcome: 'replayed' }, { id: 'unknown', outcome: 'notFound' }])
  t.strictSame(await letters.discard([two!, one!]), [{ id: two, outcome: 'discarded' }, { id: one, outcome: 'notFound' }])
  t.strictSame(await letters.replay({}), [{ id: three, outcome: 'replayed' }])
  t.strictSame(await letters.replay({}), [])
  t.ok(runs.length <= 2)
})

t.test('a letter is replayed under another name by its method and path, with its own deadline', async t => {
  const { letters, runs, succeed, attempts } = await startWithLetters(t, [{ n: 1 }])
  succeed()
  t.hasStrict(await letters.replay({}, { as: 'change' }), [{ outcome: 'replayed' }])
  await attempts.ended(1)
  t.strictSame([runs[0]!.payload, runs[0]!.method], [{ n: 1 }, 'PUT'])
  t.ok(runs[0]!.deadlineMs > 50_000 && runs[0]!.deadlineMs <= 60_000, `${runs[0]!.deadlineMs} ms`)
})

t.test('a replay that was interrupted before its letter was deleted is not enqueued again', async t => {
  const { letters, runs, succeed, attempts, transport } = await startWithLetters(t, [{ n: 1 }])
  succeed()
  const { deleteTask } = transport
  transport.deleteTask = async () => ({ outcome: 'failed', problem: 'no connection', cause: undefined })
  const [result] = await letters.replay({})
  t.hasStrict(result, { outcome: 'failed', problem: 'no connection' })
  t.equal((await letters.list()).letters.length, 1)
  await attempts.ended(1)
  transport.deleteTask = deleteTask
  t.strictSame(await letters.replay({}), [{ id: result!.id, outcome: 'replayed' }])
  t.equal((await letters.list()).letters.length, 0)
  t.strictSame([runs.length, await letters.replay(result!.id)], [1, [{ id: result!.id, outcome: 'notFound' }]])
})

t.test('malformed ids and questions change nothing', async t => {
  const { letters } = await startWithLetters(t, [{}])
  for (const id of ['', ' ', 'a/b', '../dead', '*', 'x'.repeat(501), '\u0000', 'ü']) {
    for (const act of ['discard', 'replay'] as const) {
      const [result] = await letters[act](id)
      t.match(result!.outcome, /^(failed|notFound)$/, JSON.stringify(id))
      t.equal(result!.outcome === 'failed', typeof result!.problem === 'string')
    }
  }
  const refused = { code: 'FST_TASKS_INVALID_LETTER_QUERY' }
  for (const bad of [undefined, null, 4, true, [4], ['a', undefined], { task: undefined }, { after: undefined }, { before: new Date(NaN) },
    { after: 0 }, { code: 4 }, { tsk: 'work' }, { pageSize: 1 }, { pageToken: 'x' }, new Map()]) {
    await t.rejects(letters.discard(bad as never), refused)
    await t.rejects(letters.replay(bad as never), refused)
  }
  for (const bad of [{ pageSize: 1001 }, { pageSize: 1.5 }, { pageSize: '5' }, { pageToken: 4 }, { code: undefined }, null, 4]) {
    await t.rejects(letters.list(bad as never), refused, JSON.stringify(bad))
  }
  await t.rejects(letters.list({ pageToken: 'nonsense' }), { code: 'FST_TASKS_DEAD_LETTERS_FAILED' })
  await t.rejects(letters.discard({}, { onProgres () {} } as never), { ...refused, message: /did you mean 'onProgress'/ })
  await t.rejects(letters.discard({}, { as: 'work' } as never), refused)
  await t.rejects(letters.replay({}, { ass: 'work' } as never), { ...refused, message: /did you mean 'as'/ })
  await t.rejects(letters.replay({}, { as: 4 } as never), refused)
  t.equal((await letters.list()).letters.length, 1)
})

t.test('a header that somebody forged is not believed, and gives no call the rights of a letter', async t => {
  const origin = { id: 'victim', postponements: 0 }
  const letter = { queue: 'other', id: 'victim', attempts: 1, at: 0, error: { name: '<b>', message: '</script>' } }
  const forged = { 'content-type': 'application/json', [ORIGIN_HEADER]: printOrigin({ ...origin, letter }) }
  const call = { method: 'POST', url: '/tasks/work', headers: forged, payload: '1' } as const
  for (const deadLetterQueue of [undefined, 'dead']) {
    await t.test(`with the option deadLetterQueue ${deadLetterQueue}`, async t => {
      const { app, attempts } = await startWithLetters(t, [], { auth: false, deadLetterQueue } as Partial<CloudTasksOptions>)
      t.equal((await app.inject(call)).statusCode, 500)
      const [end] = await attempts.ended(1)
      t.hasStrict(end, { queue: 'default', exhausted: true })
      t.not(end!.id, 'victim')
    })
  }
  const { app, attempts, letters, runs } = await startWithLetters(t, [])
  t.equal((await app.inject(call)).statusCode, 401)
  t.strictSame([runs, attempts.ends, (await letters.list()).letters], [[], [], []])
})

t.test('an attempt whose handler catches a bad time, and returns, is done', async t => {
  const attempts = watchAttempts(t)
  const codes: unknown[] = []
  const { app } = await start(t, {
    tasks,
    handlers: {
      work (_, task) {
        for (const bad of [-1, NaN, new Date(0), 31 * 86_400] as const) {
          try {
            task.retryAfter(bad)
          } catch (error) {
            codes.push((error as { code?: unknown }).code)
          }
        }
      }
    }
  })
  await app.enqueue('work', 1)
  t.hasStrict(await attempts.ended(1), [{ result: 'done' }])
  t.strictSame(codes, Array(4).fill('FST_TASKS_INVALID_DELAY'))
  t.strictSame(app.tasks.pending().tasks.filter(task => task.state === 'waiting'), [])
})

/** Never called: the compiler reads it. */
export async function typed (app: Parameters<typeof tasksOf>[0]): Promise<void> {
  const { deadLetters } = tasksOf(app, tasks)
  await deadLetters.list({ task: 'work', before: new Date(), pageSize: 10 })
  await deadLetters.discard({ task: 'a name that was removed' })
  const [result] = await deadLetters.replay(['a', 'b'], { as: 'change', onProgress: ({ looked, done }) => looked - done })
  result satisfies { id: string, outcome: 'replayed' | 'discarded' | 'notFound' | 'failed', problem?: string } | undefined
  // @ts-expect-error there is no such task
  await deadLetters.replay('a', { as: 'nope' })
  // @ts-expect-error a page is for list
  await deadLetters.discard({ pageSize: 10 })
}
