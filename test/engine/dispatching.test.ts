import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { httpRequest, queue, startEngine } from '../support/engine-harness.js'

const day = 24 * 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })
const appEngineHttpRequest = { relativeUri: '/work', body: Buffer.from('x') }

t.test('a task on an idle queue is dispatched as soon as it is stored, with no timer in between', async t => {
  const { engine, clock, attempts } = await startEngine()
  const task = await engine.createTask(queue, { httpRequest })
  t.equal(attempts.length, 1)
  t.match(attempts[0], { queue: 'q', deadlineMs: 600_000, deadlineAt: clock.now() + 600_000, task: { name: task.name, dispatchCount: 1 } })
  t.match(engine.getTask(task.name), { dispatchCount: 1, lastAttempt: { dispatchAt: clock.now() } }, 'its state shows while it runs')
  t.same(engine.counts(queue), { waiting: 0, running: 1 })
  await attempts[0]!.answer(204)
  t.same(engine.counts(queue), { waiting: 0, running: 0 })
  t.throws(() => engine.getTask(task.name), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  await engine.close()
  t.equal(clock.pending, 0)
})

for (const [kind, request, counts, prefix, reason] of [
  ['HTTP', { httpRequest }, [0, 0, 1, 2, 2, 3], 'X-CloudTasks-', ''],
  ['App Engine', { appEngineHttpRequest }, [0, 1, 2, 3, 4, 5], 'X-AppEngine-', 'App Error']
] as const) {
  t.test(`the headers of ${kind} attempts are those recorded from production`, async t => {
    const { engine, clock, attempts, last } = await startEngine()
    await engine.createTask(queue, { ...named('t'), ...request, ...(kind === 'HTTP' ? {} : { httpRequest: undefined }) } as never)
    const statuses = [503, 404, 429, 500, 302, 200]
    for (const [i, status] of statuses.entries()) {
      const { headers, task } = last()
      t.equal(attempts.length, i + 1)
      t.match(headers, {
        [`${prefix}QueueName`]: 'q',
        [`${prefix}TaskName`]: 't',
        [`${prefix}TaskRetryCount`]: String(i),
        [`${prefix}TaskExecutionCount`]: String(counts[i]),
        [`${prefix}TaskETA`]: (task.scheduleAt / 1000).toFixed(6),
        [`${prefix}TaskPreviousResponse`]: i === 0 ? undefined : String(statuses[i - 1]),
        [`${prefix}TaskRetryReason`]: i === 0 ? undefined : reason
      })
      await last().answer(status)
      await clock.advance(100 * 2 ** i)
    }
    t.equal(attempts.length, 6)
    await engine.close()
  })
}

t.test('a retry is due a backoff after the end of the failed attempt', async t => {
  const { engine, clock, attempts, last } = await startEngine()
  const { name } = await engine.createTask(queue, { httpRequest })
  const start = clock.now()
  await clock.advance(5000)
  await last().answer(503)
  t.match(engine.getTask(name), {
    scheduleAt: start + 5100,
    dispatchCount: 1,
    responseCount: 1,
    executionCount: 0,
    previousResponse: 503,
    firstAttempt: { dispatchAt: start },
    lastAttempt: {
      dispatchAt: start,
      responseAt: start + 5000,
      responseStatus: { code: 14, message: 'UNAVAILABLE(14): HTTP status code 503' }
    }
  })
  await clock.advance(99)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  t.equal(last().task.firstAttempt?.dispatchAt, start)
  await last().answer(200)
  await engine.close()
})

t.test('tasks that are due later wait for one timer, which never runs for more than a minute', async t => {
  const { engine, clock, attempts, last } = await startEngine()
  await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 3_600_000 })
  t.equal(clock.pending, 1)
  t.equal(clock.nextTimerAt, clock.now() + 60_000)
  await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 1000 })
  t.equal(clock.pending, 1)
  await clock.advance(999)
  t.equal(attempts.length, 0)
  await clock.advance(1)
  t.equal(attempts.length, 1)
  await last().answer(200)
  await clock.advance(3_600_000 - 1001)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  await last().answer(200)
  await engine.close()
})

t.test('when the wall clock jumps', async t => {
  t.test('ahead, what is overdue is dispatched within a minute, without any other event', async t => {
    const { engine, clock, attempts, last } = await startEngine()
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 3_600_000 })
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 30 * day })
    clock.set(clock.now() + 2 * 3_600_000)
    await clock.advance(59_999)
    t.equal(attempts.length, 0)
    await clock.advance(1)
    t.equal(attempts.length, 1)
    await last().answer(200)
    clock.set(clock.now() + 30 * day)
    await clock.advance(60_000)
    t.equal(attempts.length, 2)
    await last().answer(200)
    await engine.close()
  })

  t.test('ahead, a task that comes in afterwards is still dispatched at its time', async t => {
    const { engine, clock, attempts, last } = await startEngine()
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 20_000 })
    clock.set(clock.now() + 10_000)
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 5000 })
    await clock.advance(5000)
    t.equal(attempts.length, 1)
    await last().answer(200)
    await engine.close()
  })

  t.test('back, a queue that waits for a token goes on at its rate', async t => {
    const { engine, clock, attempts } = await startEngine()
    // The process has run for longer than the clock will be set back.
    clock.pass(2 * day)
    await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 1 } })
    await engine.pauseQueue(queue)
    for (let task = 0; task < BURST + 2; task++) await engine.createTask(queue, { httpRequest })
    clock.set(clock.now() + 2 * day)
    await engine.resumeQueue(queue)
    await clock.settle()
    t.equal(attempts.length, BURST)
    clock.set(clock.now() - day)
    await clock.advance(1000)
    t.equal(attempts.length, BURST + 1)
    clock.set(clock.now() - day / 2)
    await clock.advance(1000)
    t.equal(attempts.length, BURST + 2)
    for (const attempt of attempts) await attempt.answer(200)
    await engine.close()
  })

  t.test('ahead, a rate limit still holds', async t => {
    const { engine, clock, attempts } = await startEngine()
    await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 1 } })
    for (let task = 0; task < BURST + 2; task++) await engine.createTask(queue, { httpRequest })
    clock.set(clock.now() + day)
    await engine.createTask(queue, { httpRequest })
    await clock.settle()
    t.equal(attempts.length, BURST)
    await clock.advance(1000)
    t.equal(attempts.length, BURST + 1)
    await engine.purgeQueue(queue)
    for (const attempt of attempts) await attempt.answer(200)
    await engine.close()
  })

  t.test('the deadline of an attempt stays where it was', async t => {
    const { engine, clock } = await startEngine()
    const { name } = await engine.createTask(queue, { ...named('a'), dispatchDeadlineMs: 15_000 })
    clock.set(clock.now() + day)
    await clock.advance(14_999)
    t.equal(engine.running(name), 1)
    clock.set(clock.now() - 2 * day)
    await clock.advance(1)
    t.equal(engine.running(name), 0)
    await engine.close()
  })
})

t.test('before start tasks are only stored, after stop as well, and stop waits for what runs', async t => {
  const { engine, clock, attempts, last } = await startEngine({ started: false })
  const { name } = await engine.createTask(queue, { httpRequest })
  await clock.advance(day)
  t.equal(attempts.length, 0)
  await t.rejects(engine.runTask(name), { code: 'UNAVAILABLE' })
  engine.start()
  t.equal(attempts.length, 1)
  let stopped = false
  const stop = engine.stop().then(() => { stopped = true })
  await engine.createTask(queue, { httpRequest })
  await clock.advance(1000)
  t.equal(attempts.length, 1)
  t.equal(stopped, false)
  await last().answer(500)
  await stop
  await clock.advance(day)
  t.equal(attempts.length, 1, 'a retry that is due waits for the next start')
  t.equal(clock.pending, 0)
  engine.start()
  t.equal(attempts.length, 3)
  for (const attempt of attempts.slice(1)) await attempt.answer(200)
  await engine.close()
  await t.rejects(engine.createTask(queue, { httpRequest }), { code: 'UNAVAILABLE' })
  t.throws(() => engine.getQueue(queue), { code: 'UNAVAILABLE' })
  t.same(engine.counts(queue), { waiting: 0, running: 0 })
})

t.test('a dispatcher that never answers loses its slot at the deadline, and its late answer is ignored', async t => {
  const { engine, clock, attempts } = await startEngine()
  await engine.updateQueue(queue, { rateLimits: { maxConcurrentDispatches: 1 }, retryConfig: { maxAttempts: 2 } })
  const { name } = await engine.createTask(queue, { ...named('slow'), dispatchDeadlineMs: 15_000 })
  await engine.createTask(queue, named('next'))
  await clock.advance(14_999)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  t.match(engine.getTask(name), {
    previousResponse: 0,
    responseCount: 0,
    executionCount: 0,
    lastAttempt: { responseAt: undefined, responseStatus: { code: 4, message: /^DEADLINE_EXCEEDED\(4\)/ } }
  })
  await attempts[0]!.answer(200)
  t.equal(engine.getTask(name).dispatchCount, 1, 'still there')
  await attempts[1]!.answer(200)
  await clock.advance(100)
  t.match(attempts[2], { task: { name }, headers: { 'X-CloudTasks-TaskPreviousResponse': '504' } })
  await attempts[2]!.answer(200)
  await engine.close()
})

t.test('an App Engine task without a deadline of its own has ten minutes', async t => {
  const { engine, clock, attempts } = await startEngine()
  await engine.createTask(queue, { appEngineHttpRequest })
  await clock.advance(600_000)
  t.equal(attempts[0]!.deadlineMs, 600_000)
  await clock.advance(100)
  t.match(attempts[1]!.headers, { 'X-AppEngine-TaskPreviousResponse': '0', 'X-AppEngine-TaskRetryReason': 'Instance Unavailable' })
  await attempts[1]!.answer(200)
  await engine.close()
})

t.test('errors of the dispatcher are reported and count as no response', async t => {
  const failure = new Error('connection refused')
  const wrong = [
    () => {
      throw failure
    },
    async () => {
      throw failure
    },
    async () => ({ status: 99 }),
    async () => ({ status: 1000 }),
    async () => ({ status: 200.5 }),
    async () => undefined as never,
    async () => ({ status: 0 })
  ]
  for (const [i, dispatch] of wrong.entries()) {
    const errors: unknown[] = []
    const contexts: unknown[] = []
    const onError = (error: unknown, where: object): void => { errors.push(error); contexts.push(where) }
    const { engine } = await startEngine({ dispatch, onError })
    const { name } = await engine.createTask(queue, { httpRequest })
    await new Promise(resolve => { setImmediate(resolve) })
    t.match(engine.getTask(name), { previousResponse: 0, responseCount: 0, lastAttempt: { responseStatus: { code: 14 } } })
    t.strictSame(contexts, i === wrong.length - 1 ? [] : [{ during: 'dispatch', name }])
    if (i < 2) t.equal(errors[0], failure)
    await engine.close()
  }
})

t.test('the lowest and the highest status of a dispatcher are responses', async t => {
  const { engine, attempts, errors } = await startEngine()
  for (const [index, status] of [100, 999].entries()) {
    const { name } = await engine.createTask(queue, { httpRequest })
    await attempts[index]!.answer(status)
    t.equal(engine.getTask(name).previousResponse, status)
  }
  t.strictSame(errors, [])
  await engine.close()
})

t.test('everything that an engine starts runs in the async context of its creation', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: string[] = []
  const note = (what: string): void => { seen.push(`${what} ${storage.getStore()}`) }
  const { engine, clock } = await storage.run('maker', async () => await startEngine({
    dispatch: async () => {
      note('dispatch')
      return { status: 500 }
    },
    onError: () => { note('onError') }
  }))
  engine.observe({
    added () { note('added'); throw new Error('a bad observer') },
    started () { note('started') },
    attempted () { note('attempted') },
    ended () { note('ended') }
  })
  await storage.run('caller', async () => {
    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 3 } })
    await engine.createTask(queue, named('a'))
    await clock.settle()
    await engine.runTask(`${queue}/tasks/a`)
    await clock.advance(1000)
    await engine.createTask(queue, { ...named('b'), scheduleAt: clock.now() + 1000 })
    await engine.deleteTask(`${queue}/tasks/b`)
    await engine.close()
  })
  t.strictSame([...new Set(seen)].sort(), [
    'added maker',
    'attempted maker',
    'dispatch maker',
    'ended maker',
    'onError maker',
    'started maker'
  ])
})

t.test('an observer gets the report of each attempt, with what the dispatcher returned', async t => {
  const failure = new Error('no route')
  const results = [{ status: 503, text: 'later' }, failure, { status: 200 }]
  const { engine, clock } = await startEngine({
    async dispatch () {
      clock.step(7)
      const result = results.shift()!
      if (result instanceof Error) throw result
      return result
    }
  })
  const reports: object[] = []
  engine.observe({ attempted ({ attempt: { task: { dispatchCount } }, ...report }) { reports.push({ dispatchCount, ...report }) } })
  const begin = clock.now()
  await engine.createTask(queue, { httpRequest })
  await clock.advance(1000)
  t.strictSame(reports, [
    { dispatchCount: 1, result: 503, endedAt: begin + 7, durationMs: 7, retryAt: begin + 107, text: 'later' },
    { dispatchCount: 2, result: 'unreachable', endedAt: begin + 114, durationMs: 7, retryAt: begin + 314, error: failure },
    { dispatchCount: 3, result: 200, endedAt: begin + 321, durationMs: 7, retryAt: undefined }
  ])
  await engine.close()
})

t.test('a failed attempt has no time of its retry while another attempt of its task runs', async t => {
  const { engine, clock, attempts } = await startEngine()
  const retries: unknown[] = []
  engine.observe({ attempted ({ retryAt }) { retries.push(retryAt) } })
  const { name } = await engine.createTask(queue, { httpRequest })
  await engine.runTask(name)
  await attempts[0]!.answer(500)
  await attempts[1]!.answer(500)
  t.strictSame(retries, [undefined, clock.now() + 200])
  await engine.close()
})

/** Tokens of a queue with a low rate, at first. */
const BURST = 10
