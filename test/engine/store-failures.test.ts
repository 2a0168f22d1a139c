import t from 'tap'
import { Engine } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { FragileStore, httpRequest, parent, queue, startEngine } from '../support/engine-harness.js'

const day = 24 * 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('a failed write after an attempt is reported, applies in memory, and is stored with the next settle', async t => {
  const { engine, clock, store, errors, attempts, last } = await startEngine({ store: new FragileStore() })
  const done = await engine.createTask(queue, named('done'))
  const retried = await engine.createTask(queue, named('retried'))
  store.broken.add('removeTask').add('putTask')
  await attempts[0]!.answer(200)
  await attempts[1]!.answer(500)
  t.match(
    errors,
    [{ message: 'removeTask broke' }, { message: 'putTask broke' }],
    'the removal was tried again meanwhile, and of its two errors one is reported'
  )
  t.throws(() => engine.getTask(done.name), { code: 'NOT_FOUND' })
  t.match(engine.getTask(retried.name), { dispatchCount: 1, previousResponse: 500 })
  t.match(store.getTask(retried.name), { dispatchCount: 0 })
  t.ok(store.getTask(done.name))

  store.broken.clear()
  await engine.createTask(queue, named('other'))
  await last().answer(200)
  t.match(store.getTask(retried.name), { dispatchCount: 1, previousResponse: 500 })
  t.equal(store.getTask(done.name), undefined)
  await t.rejects(engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })

  store.broken.add('removeTask')
  await clock.advance(100)
  await last().answer(200)
  t.ok(store.getTask(retried.name))
  store.broken.clear()
  await engine.close()
  t.equal(store.getTask(retried.name), undefined, 'closing tries once more')
})

t.test('a change that the store rejects has no effect', async t => {
  const { engine, clock, store, attempts, last } = await startEngine({ store: new FragileStore() })
  const waiting = await engine.createTask(queue, { ...named('waiting'), scheduleAt: clock.now() + 1000 })
  const running = await engine.createTask(queue, named('running'))
  for (const method of ['putTask', 'removeTask', 'putQueue', 'removeQueue']) store.broken.add(method)
  const refused = { code: 'UNAVAILABLE' }
  await t.rejects(engine.createTask(queue, named('new')), refused)
  await t.rejects(engine.deleteTask(waiting.name), refused)
  await t.rejects(engine.pauseQueue(queue), refused)
  await t.rejects(engine.createQueue(`${parent}/queues/new`), refused)
  t.throws(() => engine.getQueue(`${parent}/queues/new`), { code: 'NOT_FOUND' })
  for (const [i, remove] of [() => engine.deleteTask(running.name), () => engine.deleteQueue(queue)].entries()) {
    let open = () => {}
    store.gate = new Promise(resolve => { open = resolve })
    const removal = t.rejects(remove(), refused)
    await clock.settle()
    t.throws(() => engine.getTask(running.name), { code: 'NOT_FOUND' }, 'gone while it looks like success')
    await attempts[i]!.answer(500)
    open()
    store.gate = undefined
    await removal
    t.match(engine.getTask(running.name), { dispatchCount: i + 2 }, 'back, and dispatched again, because its result was ignored')
    await clock.settle()
  }
  store.broken.clear()
  t.equal(engine.getQueue(queue).state, 'RUNNING')
  t.equal(engine.getTask(waiting.name).dispatchCount, 0)
  await clock.advance(1000)
  t.same(attempts.slice(2).map(attempt => attempt.task.name).sort(), [running.name, waiting.name].sort(), 'both are dispatched')
  await engine.createTask(queue, named('new'))
  for (const attempt of attempts) await attempt.answer(200)
  t.equal(last().task.name, `${queue}/tasks/new`)
  await engine.close()
})

t.test('an engine that is opened on the store of another continues where that one stopped', async t => {
  const store = new MemoryStore()
  const clock = new ManualClock()
  const first = await startEngine({ store, clock, queueTombstoneMs: 7 * day })
  await first.engine.createQueue(`${parent}/queues/gone`)
  await first.engine.deleteQueue(`${parent}/queues/gone`)
  await first.engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 5 } })
  await first.engine.createTask(queue, named('done'))
  await first.last().answer(200)
  await first.engine.createTask(queue, named('failed'))
  await first.last().answer(500)
  await first.engine.createTask(queue, named('running'))
  const generated = await first.engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 1000 })
  // Not closed: this is a crash while `running` runs.

  const attempts: string[] = []
  const second = new Engine({
    store,
    clock,
    dispatch: async ({ task }) => {
      attempts.push(`${task.name.slice(queue.length + 7)} ${task.dispatchCount}`)
      return { status: 200 }
    }
  })
  await second.open()
  t.match(second.getQueue(queue), { settings: { rateLimits: { maxDispatchesPerSecond: 5 } } })
  await t.rejects(second.createTask(queue, named('done')), { code: 'ALREADY_EXISTS', message: /too recently/ })
  await t.rejects(second.createTask(queue, named('failed')), { code: 'ALREADY_EXISTS', message: 'Requested entity already exists' })
  await t.rejects(second.createQueue(`${parent}/queues/gone`), { code: 'FAILED_PRECONDITION' })
  t.same(second.counts(queue), { waiting: 3, running: 0 })
  second.start()
  await clock.advance(1000)
  t.same(attempts, ['running 1', 'failed 2', `${generated.name.slice(queue.length + 7)} 1`])
  t.throws(
    () => second.getTask(generated.name),
    { message: 'Requested entity was not found.' },
    'its id was generated, so it is not remembered'
  )
  await second.close()
})

t.test('an observer receives every event of a task, and errors that it throws have no effect', async t => {
  const errors: unknown[] = []
  const { engine, clock, last } = await startEngine({
    onError: (error, { during }) => { errors.push([during, (error as Error).message]) }
  })
  await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
  const events: unknown[] = []
  const stop = engine.observe({
    added: task => {
      events.push(['added', task.name.slice(queue.length + 7)])
    },
    started: ({ task }) => {
      events.push(['started', task.dispatchCount])
    },
    attempted: ({ result, retryAt, error }) => {
      events.push(['attempted', result, retryAt === undefined ? undefined : retryAt - clock.now(), (error as Error | undefined)?.message])
    },
    ended: (name, why) => {
      events.push(['ended', name.slice(queue.length + 7), why])
    },
    emptied: name => {
      events.push(['emptied', name])
    },
    changed: name => {
      events.push(['changed', name])
    }
  })
  engine.observe({ added () { throw new Error('a bad observer') } })
  await engine.createTask(queue, named('a'))
  await last().answer(503)
  await clock.advance(100)
  await last().fail(new Error('no route'))
  t.same(events.splice(0), [
    ['added', 'a'],
    ['started', 1],
    ['attempted', 503, 100, undefined],
    ['started', 2],
    ['attempted', 'unreachable', undefined, 'no route'],
    ['ended', 'a', 'givenUp']
  ])
  await engine.pauseQueue(queue)
  await engine.createTask(queue, named('b'))
  await engine.deleteTask(`${queue}/tasks/b`)
  await engine.purgeQueue(queue)
  t.same(events.splice(0), [['changed', queue], ['added', 'b'], ['ended', 'b', 'deleted'], ['emptied', queue], ['changed', queue]])
  t.strictSame(errors, [['observe', 'a bad observer'], ['dispatch', 'no route'], ['observe', 'a bad observer']])
  stop()
  await engine.resumeQueue(queue)
  t.same(events, [])
  await engine.close()
})

t.test('stop waits for all running attempts', async t => {
  const { engine, attempts } = await startEngine()
  for (const id of ['a', 'b']) await engine.createTask(queue, named(id))
  let stopped = false
  const stop = engine.stop().then(() => { stopped = true })
  await attempts[0]!.answer(200)
  t.equal(stopped, false)
  await attempts[1]!.answer(200)
  t.equal(stopped, true)
  await stop
  await engine.close()
})

t.test('stop waits until all results are stored', async t => {
  const { engine, clock, store, attempts } = await startEngine({ store: new FragileStore() })
  for (const id of ['a', 'b']) await engine.createTask(queue, named(id))
  const gates: Array<() => void> = []
  const gate = (): void => { store.gate = new Promise(resolve => { gates.push(resolve) }) }
  let stopped = false
  for (const [attempt, status] of [200, 500].entries()) {
    gate()
    await attempts[attempt]!.answer(status)
  }
  store.gate = undefined
  const stop = engine.stop().then(() => { stopped = true })
  for (const open of gates) {
    await clock.settle()
    t.equal(stopped, false)
    open()
  }
  await clock.settle()
  t.equal(stopped, true)
  await stop
  t.equal(store.getTask(`${queue}/tasks/a`), undefined)
  t.match(store.getTask(`${queue}/tasks/b`), { previousResponse: 500 })
  await engine.close()
})

t.test('a removal that succeeds when it is retried stores the tombstone too', async t => {
  const { engine, clock, store, last } = await startEngine({ store: new FragileStore() })
  await engine.createTask(queue, named('done'))
  store.broken.add('removeTask')
  await last().answer(200)
  store.broken.clear()
  await clock.advance(5000)
  t.equal(store.getTask(`${queue}/tasks/done`), undefined)
  t.strictSame([...(await store.load()).tombstones], [{ name: `${queue}/tasks/done`, until: clock.now() - 5000 + 3_600_000 }])
  const next = await startEngine({ store, clock, keepQueue: true, started: false })
  await t.rejects(next.engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })
  await next.engine.close()
  await engine.close()
})

t.test('a failed write of a task that runs again is stored with the result of that attempt', async t => {
  const { engine, clock, store, attempts } = await startEngine({ store: new FragileStore() })
  const { name } = await engine.createTask(queue, named('a'))
  store.broken.add('putTask')
  await attempts[0]!.answer(500)
  await clock.advance(100)
  store.broken.clear()
  store.calls.length = 0
  await clock.advance(60_000)
  t.strictSame(store.calls, [], 'not while it runs')
  await attempts[1]!.answer(503)
  t.match(store.getTask(name), { dispatchCount: 2, previousResponse: 503 })
  await engine.close()
})

t.test('a failed write of a task is retried no more once the task is being deleted', async t => {
  const { engine, clock, store, attempts } = await startEngine({ store: new FragileStore() })
  const { name } = await engine.createTask(queue, named('a'))
  await engine.pauseQueue(queue)
  store.broken.add('putTask')
  await attempts[0]!.answer(500)
  store.calls.length = 0
  let open = (): void => {}
  store.gate = new Promise(resolve => { open = resolve })
  const deleted = engine.deleteTask(name)
  await clock.advance(5000)
  open()
  store.gate = undefined
  await deleted
  t.strictSame(store.calls, ['removeTask'])
  await clock.advance(5000)
  t.strictSame(store.calls, ['removeTask', 'removeTask'], 'its record is removed once more, in case the write succeeded')
  t.equal(store.getTask(name), undefined)
  await engine.close()
  t.equal(clock.pending, 0)
})

t.test('a queue whose deletion fails while one of its tasks runs dispatches that task no second time', async t => {
  const { engine, clock, store, attempts } = await startEngine({ store: new FragileStore() })
  const running = await engine.createTask(queue, named('running'))
  store.broken.add('removeQueue')
  await t.rejects(engine.deleteQueue(queue), { code: 'UNAVAILABLE' })
  await clock.settle()
  t.strictSame(engine.counts(queue), { waiting: 0, running: 1 })
  t.equal(engine.running(running.name), 1)
  await engine.createTask(queue, named('other'))
  t.equal(attempts.length, 2)
  for (const attempt of attempts) await attempt.answer(200)
  t.strictSame(engine.counts(queue), { waiting: 0, running: 0 })
  await engine.close()
})

t.test('a write that fails at the last settle of a close leaves no timer', async t => {
  const { engine, clock, store, last } = await startEngine({ store: new FragileStore() })
  await engine.createTask(queue, named('a'))
  store.broken.add('removeTask')
  await last().answer(200)
  t.equal(clock.pending, 1, 'the next retry')
  await engine.close()
  t.equal(clock.pending, 0)
  t.not(store.getTask(`${queue}/tasks/a`), undefined)
})

t.test('errors of the store are counted by their problem, and damaged records by their message', async t => {
  const reported: unknown[] = []
  const { engine, store } = await startEngine({
    started: false,
    onError: (error, where) => { reported.push([(error as Error).message, where.name?.slice(queue.length + 7)]) }
  })
  const ids = ['a', 'b', 'c', 'd']
  for (const id of ids) await engine.createTask(queue, named(id))
  store.getTask = name => {
    const problem = name.endsWith('/a') || name.endsWith('/b') ? 'damaged' : 'full'
    throw Object.assign(new Error(`${problem} ${name.at(-1)}`), { problem })
  }
  engine.start()
  t.strictSame(reported, [['damaged a', 'a'], ['damaged b', 'b'], ['full c', 'c']], 'the error of d is of the same kind')
  await engine.close()
})

t.test("a failed removal of a deleted queue's task is retried", async t => {
  const { engine, clock, store, last } = await startEngine({ store: new FragileStore() })
  await engine.createTask(queue, named('done'))
  store.broken.add('removeTask')
  await last().answer(200)
  store.broken.clear()
  await engine.deleteQueue(queue)
  store.calls.length = 0
  await clock.advance(5000)
  t.strictSame(store.calls, ['removeTask'])
  await engine.close()
  t.equal(clock.pending, 0)
})

t.test('errors and expired tasks are warnings of the process, if they are not given to a callback', async t => {
  const warnings: unknown[] = []
  t.intercept(process, 'emitWarning', { value: (warning: unknown) => { warnings.push(warning) } })
  const failure = new Error('no route')
  const failures: unknown[] = [failure, 'text']
  const { engine, clock } = await startEngine({ onError: undefined as never, dispatch: async () => { throw failures.shift() } })
  const { name } = await engine.createTask(queue, named('a'))
  await clock.advance(100)
  t.strictSame([warnings.length, warnings[0] === failure, warnings[1] instanceof Error, (warnings[1] as Error).message], [2, true, true, 'text'])
  await engine.pauseQueue(queue)
  clock.pass(31 * day)
  t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
  await engine.close()
  t.equal(warnings.length, 3)
  t.ok((warnings[2] as string).startsWith('1 tasks') && (warnings[2] as string).endsWith(name), String(warnings[2]))
})
