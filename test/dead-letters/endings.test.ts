import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { MAX_TASK_BYTES } from '../../lib/cloud-tasks/size.js'
import { printOrigin } from '../../lib/copies/facts.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import { defineTasks, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { create, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Any() } })
const once = { default: { retryConfig: { maxAttempts: 1 } } }
const fail = () => { throw new Error('no') }
const json = { 'content-type': 'application/json' }
const DAY = 86_400_000

/** An app on the embedded queue, on a clock that the test moves. */
async function startStill (t: Test, options: Partial<CloudTasksOptions>) {
  const attempts = watchAttempts(t)
  const { app, log } = await create(t, { tasks, deadLetterQueue: 'dead', queues: once, handlers: { work: fail }, ...options } as CloudTasksOptions)
  const { clock: switchable, local } = handleOf(app)!
  const clock = new ManualClock(Date.now())
  switchable.switchTo(clock)
  await app.ready()
  const { engine } = local!
  const letters = async () => (await app.tasks.deadLetters.list()).letters
  /** Creates a task as another client would. */
  const add = async (queue: string, path: string, body: Buffer, headers: Record<string, string> = json) =>
    (await engine.createTask(local!.queueName(queue), { httpRequest: { url: `http://localhost${path}`, headers, body } })).name
  /** Runs a task, and waits until its attempt is settled. */
  const run = async (name: string) => {
    const count = attempts.ends.length
    await engine.runTask(name)
    while (attempts.ends.length === count) await clock.advance(0)
    await clock.advance(1)
  }
  const settle = async (count: number) => {
    while (attempts.ends.length < count) await clock.advance(0)
    await clock.advance(1)
    return attempts.ends
  }
  return { app, log, clock, engine, letters, add, run, settle, attempts, nameOf: (queue: string) => local!.queueName(queue) }
}

t.test('a last attempt that passes its deadline leaves a letter', async t => {
  const { app, clock, letters } = await startStill(t, { handlers: { work: async () => { await new Promise(() => {}) } } })
  const { id } = await app.enqueue('work', { text: 'ü' }, { headers: { 'x-own': 'kept' } })
  await clock.advance(600_001)
  const [letter] = await letters()
  t.hasStrict(letter, { task: 'work', queue: 'default', taskId: id, attempts: 1 })
  t.match(letter!.error!.code, /FST_TASKS_(DISCONNECTED|DEADLINE_EXCEEDED)/)
  const { httpRequest } = handleOf(app)!.local!.engine.getTask(handleOf(app)!.local!.queueName('dead') + `/tasks/${letter!.id}`)
  t.equal(Buffer.from(httpRequest!.body!).toString(), '{"text":"ü"}')
  t.equal(httpRequest!.headers!['x-own'], 'kept')
})

t.test('a task that is deleted during its last attempt leaves no letter', async t => {
  const { app, letters, settle } = await startStill(t, {
    handlers: {
      async work (_: unknown, task: TaskContext) {
        await app.tasks.delete('work', task.id)
        throw new Error('no')
      }
    }
  })
  await app.enqueue('work', 1)
  await settle(1)
  t.strictSame(await letters(), [])
})

t.test('a task that is unknown here leaves a letter, which can be discarded, and replayed as another task', async t => {
  const seen: unknown[] = []
  const queues = { default: { retryConfig: { maxAttempts: 2, minBackoffSeconds: 0.001, maxBackoffSeconds: 0.001 } } }
  const { app, log, clock, add, letters, settle } = await startStill(t, { queues, handlers: { work: payload => { seen.push(payload) } } })
  for (const body of ['{"n":1}', '{"n":2}', '{"n":3}']) await add('default', '/tasks/renamed/now?x=1', Buffer.from(body))
  while ((await letters()).length < 3) await clock.advance(1)
  const ended = log.filter(line => line.level === 50 && line.msg.startsWith('received a task without a handler here')).map(line => line.msg.split('; ')[1])
  t.strictSame([...ended].sort(), [...Array(3).fill('it will be retried'), ...Array(3).fill('it will not be retried')])
  for (const letter of await letters()) {
    t.hasStrict(letter, { task: undefined, path: '/tasks/renamed/now', queue: 'default', attempts: 2, error: { code: 'FST_TASKS_NOT_REGISTERED' } })
  }
  const [first] = await letters()
  t.strictSame(await app.tasks.deadLetters.list({ task: 'work' }), { letters: [], nextPageToken: undefined })
  t.strictSame(await app.tasks.deadLetters.discard(first!.id), [{ id: first!.id, outcome: 'discarded' }])
  t.hasStrict(await app.tasks.deadLetters.replay({ code: 'FST_TASKS_NOT_REGISTERED' }, { as: 'work' }), [{ outcome: 'replayed' }, { outcome: 'replayed' }])
  await settle(1)
  t.equal(seen.length, 2)
})

t.test('letters expire after 31 days: that is logged, and calls no onExhausted', async t => {
  let exhausted = 0
  const { app, log, clock, letters, settle } = await startStill(t, { onExhausted: () => { exhausted++ } })
  await app.enqueue('work', 1)
  await settle(1)
  t.equal(exhausted, 1)
  await clock.advance(31 * DAY - 10_000)
  t.equal((await letters()).length, 1)
  await clock.advance(20_000)
  t.equal((await letters()).length, 0)
  await clock.advance(2000)
  t.equal(exhausted, 1)
  t.strictSame(app.tasks.list()[0]!.counts, { done: 0, retry: 1, dropped: 0, postponed: 0, exhausted: 1, expired: 0 })
  t.hasStrict(log.filter(line => line.level >= 50).at(-1), { count: 1, msg: 'tasks were dropped because they were older than 31 days' })
})

t.test('a letter that does not fit is logged at error with the id of its task', async t => {
  const { log, clock, engine, add, letters, settle } = await startStill(t, {})
  let size = MAX_TASK_BYTES - 4096
  for (let step = 4096; step >= 1; step /= 2) {
    try {
      await engine.deleteTask(await add('dead', '/tasks/work', Buffer.from(JSON.stringify('x'.repeat(size + step)))))
      size += step
    } catch {}
  }
  const name = await add('default', '/tasks/work', Buffer.from(JSON.stringify('x'.repeat(size - 32))))
  const [end] = await settle(1)
  t.hasStrict(end, { result: 'retry', status: 500, exhausted: true })
  await clock.advance(1)
  const [line] = log.filter(line => line.msg === 'task could not be kept as a dead letter')
  t.hasStrict(line, { level: 50, id: name.slice(name.lastIndexOf('/') + 1), queue: 'default' })
  t.match(line!.problem, /the copy has \d+ bytes, more than the 1048569 that Cloud Tasks stores/)
  t.strictSame(await letters(), [])
})

t.test('an id that is used again after its letter was discarded or purged fails into a letter of its own', async t => {
  const { app, clock, engine, letters, settle, attempts, nameOf } = await startStill(t, { local: { taskTombstoneSeconds: 5 } })
  const failAgain = async (): Promise<string> => {
    await clock.advance(10_000)
    attempts.ends.splice(0)
    t.equal((await app.enqueue('work', 1, { id: 'same' })).duplicate, false)
    await settle(1)
    const found = await letters()
    t.equal(found.length, 1)
    return found[0]!.id
  }
  const ids = [await failAgain()]
  await app.tasks.deadLetters.discard(ids[0]!)
  ids.push(await failAgain())
  await engine.purgeQueue(nameOf('dead'))
  t.strictSame(await letters(), [])
  ids.push(await failAgain())
  await app.tasks.deadLetters.discard({})
  await engine.purgeQueue(nameOf('default'))
  ids.push(await failAgain())
  t.equal(new Set(ids).size, 4)
})

t.test('tasks in the dead-letter queue never create a letter and never end by failing', async t => {
  const seen: unknown[] = []
  let what = 'throw'
  const { app, add, letters, run, settle, attempts } = await startStill(t, {
    invalidPayload: 'drop',
    handlers: {
      work (_: unknown, task: TaskContext) {
        seen.push([task.queue, task.id, task.isLastAttempt, task.maxAttempts])
        if (task.postponements > 0) return
        if (what === 'postpone') task.retryAfter(0)
        throw new Error('no')
      }
    }
  })
  const origin = { id: 'original', postponements: 0 }
  const letter = { queue: 'dead', attempts: 1, at: 0, error: { name: 'Error', message: '' } }
  const headers = [json, { ...json, [ORIGIN_HEADER]: 'x'.repeat(2000) }, { ...json, [ORIGIN_HEADER]: printOrigin(origin) },
    { ...json, [ORIGIN_HEADER]: printOrigin({ ...origin, letter }) }]
  for (const one of headers) {
    seen.length = attempts.ends.length = 0
    what = 'throw'
    const name = await add('dead', '/tasks/work', Buffer.from('1'), one)
    const id = name.slice(name.lastIndexOf('/') + 1)
    for (let n = 0; n < 101; n++) await run(name)
    t.equal(attempts.ends.length, 101)
    t.ok(attempts.ends.every(end => end.result === 'retry' && !end.exhausted))
    const hasFacts = one === headers[3]
    t.strictSame(seen[100], ['default', hasFacts ? 'original' : id, false, undefined])
    t.strictSame((await letters()).map(one => one.id), [id])
    what = 'postpone'
    await run(name)
    await settle(103)
    t.strictSame(attempts.ends.slice(101).map(end => [end.result, end.queue]), [['postponed', 'default'], ['done', 'default']])
    t.strictSame(await letters(), [], 'its successor was in the queue of its task, not in the paused one')
  }
  const broken = await add('dead', '/tasks/work', Buffer.from('no JSON'))
  attempts.ends.length = 0
  await run(broken)
  t.hasStrict(attempts.ends.at(-1), { result: 'retry', status: 400 })
  t.equal((await letters()).length, 1)
  t.equal(app.tasks.counts().dead!.state, 'PAUSED')
})
