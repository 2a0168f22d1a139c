import t from 'tap'
import { CloudTasksError } from '../../lib/cloud-tasks/status.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { httpRequest, parent, startEngine, type OpenAttempt } from '../support/engine-harness.js'

// The whole engine against a model that knows no heap, no timer and no store: thousands of random operations, after each of
// which both must agree. SEED=n repeats a run.

const TOMBSTONE_MS = 30_000
const DEADLINE_MS = 15_000
const BURST = 10
const RATE = 2
const CONCURRENCY = 4
const MAX_ATTEMPTS = 3

interface ModelTask {
  readonly name: string
  readonly named: boolean
  readonly queue: ModelQueue
  dueAt: number
  dispatchCount: number
  running: number
}

interface ModelAttempt {
  readonly task: ModelTask
  readonly startedAt: number
  readonly forced: boolean
  ended: boolean
}

interface ModelQueue {
  readonly name: string
  paused: boolean
  tokens: number
  countedAt: number
  running: number
}

/** What the engine may do and must do, in the simplest form. */
class Model {
  readonly queues: ModelQueue[]
  readonly tasks = new Map<string, ModelTask>()
  readonly tombstones = new Map<string, number>()
  readonly attempts = new Map<OpenAttempt, ModelAttempt>()
  /** Set while RunTask is called: the attempt that starts then is not bound by anything. */
  forcing = false

  constructor (names: readonly string[], now: number) {
    this.queues = names.map(name => ({ name, paused: false, tokens: BURST, countedAt: now, running: 0 }))
  }

  /** Ends the attempts whose deadline has passed. */
  catchUp (now: number): void {
    for (const attempt of this.attempts.values()) {
      if (!attempt.ended && attempt.startedAt + DEADLINE_MS <= now) this.#end(attempt, attempt.startedAt + DEADLINE_MS, false)
    }
  }

  /** Complains about an attempt that should not have started. */
  started (attempt: OpenAttempt, now: number): string | undefined {
    this.catchUp(now)
    const { name, dispatchCount } = attempt.task
    const task = this.tasks.get(name)
    if (task === undefined) return `${name} was dispatched but does not exist`
    const { queue } = task
    if (!this.forcing) {
      this.#refill(queue, now)
      if (queue.paused) return `${name} was dispatched from a paused queue`
      if (task.running > 0) return `${name} was dispatched while an attempt of it ran`
      if (task.dueAt > now) return `${name} was dispatched ${task.dueAt - now} ms early`
      if (queue.running >= CONCURRENCY) return `${queue.name} exceeds its concurrency`
      if (queue.tokens < 1 - 1e-6) return `${queue.name} exceeds its rate`
      queue.tokens--
    }
    task.running++
    queue.running++
    task.dispatchCount++
    this.attempts.set(attempt, { task, startedAt: now, forced: this.forcing, ended: false })
    if (dispatchCount !== task.dispatchCount) return `${name} has dispatchCount ${dispatchCount}, not ${task.dispatchCount}`
  }

  answered (attempt: OpenAttempt, status: number, now: number): void {
    const known = this.attempts.get(attempt)!
    if (!known.ended) this.#end(known, now, status >= 200 && status <= 299)
    this.attempts.delete(attempt)
  }

  remove (task: ModelTask, now: number): void {
    if (!this.tasks.delete(task.name)) return
    if (task.named) this.tombstones.set(task.name, now + TOMBSTONE_MS)
  }

  isTaken (name: string, now: number): boolean {
    return this.tasks.has(name) || (this.tombstones.get(name) ?? -Infinity) > now
  }

  /** Complains about a queue that stands still although it could go on. */
  idle (queue: ModelQueue, now: number): string | undefined {
    this.#refill(queue, now)
    if (queue.paused || queue.running >= CONCURRENCY || queue.tokens < 1) return undefined
    const due = this.tasksOf(queue).find(task => task.running === 0 && task.dueAt <= now)
    return due && `${due.name} has been due for ${now - due.dueAt} ms, and nothing keeps it`
  }

  tasksOf (queue: ModelQueue): ModelTask[] {
    return [...this.tasks.values()].filter(task => task.queue === queue)
  }

  #end (attempt: ModelAttempt, now: number, success: boolean): void {
    const { task } = attempt
    attempt.ended = true
    task.running--
    task.queue.running--
    if (this.tasks.get(task.name) !== task) return
    if (success) {
      this.remove(task, now)
      return
    }
    // min 1 s, max 20 s, 1 doubling: 1, 2, 4, 6, 8, ...
    const backoff = Math.min(20_000, task.dispatchCount <= 1 ? 1000 : (task.dispatchCount - 1) * 2000)
    task.dueAt = (attempt.forced ? attempt.startedAt : now) + backoff
    if (task.running === 0 && task.dispatchCount >= MAX_ATTEMPTS) this.remove(task, now)
  }

  #refill (queue: ModelQueue, now: number): void {
    queue.tokens = Math.min(BURST, queue.tokens + (now - queue.countedAt) / 1000 * RATE)
    queue.countedAt = now
  }
}

/** A small seeded generator: the run of a seed never changes. */
function random (seed: number): (below: number) => number {
  let state = seed >>> 0
  return below => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below
  }
}

async function run (seed: number, steps: number): Promise<{ dispatches: number }> {
  const pick = random(seed)
  const clock = new ManualClock()
  const names = ['a', 'b'].map(id => `${parent}/queues/${id}`)
  const model = new Model(names, clock.now())
  const faults: string[] = []
  const open: OpenAttempt[] = []
  let dispatches = 0
  const { engine, store, errors } = await startEngine({
    clock,
    store: new MemoryStore(),
    taskTombstoneMs: TOMBSTONE_MS,
    started: false,
    dispatch: attempt => new Promise(resolve => {
      dispatches++
      const opened = {
        ...attempt,
        answer: async (status: number) => { resolve({ status }) },
        fail: async () => {}
      }
      const fault = model.started(opened, clock.now())
      if (fault !== undefined) faults.push(fault)
      open.push(opened)
    })
  })
  const settings = {
    rateLimits: { maxDispatchesPerSecond: RATE, maxConcurrentDispatches: CONCURRENCY },
    retryConfig: { maxAttempts: MAX_ATTEMPTS, minBackoffSeconds: 1, maxBackoffSeconds: 20, maxDoublings: 1 }
  }
  for (const name of names) await engine.createQueue(name, settings)
  engine.start()

  /** What a call came to: its gRPC code. */
  const outcome = async (call: Promise<unknown>): Promise<string> => {
    try {
      await call
      return 'OK'
    } catch (error) {
      if (error instanceof CloudTasksError) return error.code
      throw error
    }
  }
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) faults.push(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`)
  }
  const someTask = (): string => {
    const all = [...model.tasks.keys()]
    return all.length === 0 || pick(8) === 0 ? `${names[0]}/tasks/n${pick(12)}` : all[pick(all.length)]!
  }
  const create = async (queue: ModelQueue): Promise<void> => {
    const delay = pick(3) === 0 ? pick(10_000) : 0
    const now = clock.now()
    const newTask = { httpRequest, dispatchDeadlineMs: DEADLINE_MS, ...(delay > 0 && { scheduleAt: now + delay }) }
    const id = pick(3) > 0 ? `${queue.name}/tasks/n${pick(12)}` : undefined
    const task = { queue, dueAt: now + delay, dispatchCount: 0, running: 0 }
    if (id === undefined) {
      // Its name is known only afterwards, so for once the engine is asked first: with a schedule it cannot run before.
      const made = await engine.createTask(queue.name, { ...newTask, scheduleAt: now + delay + 1 })
      model.tasks.set(made.name, { ...task, dueAt: now + delay + 1, name: made.name, named: false })
      return
    }
    const wanted = model.isTaken(id, now) ? 'ALREADY_EXISTS' : 'OK'
    if (wanted === 'OK') model.tasks.set(id, { ...task, name: id, named: true })
    const twice = pick(4) === 0
    const calls = [outcome(engine.createTask(queue.name, { ...newTask, name: id }))]
    if (twice) calls.push(outcome(engine.createTask(queue.name, { ...newTask, name: id })))
    expect(`create ${id}`, await Promise.all(calls), twice ? [wanted, 'ALREADY_EXISTS'] : [wanted])
  }
  const remove = async (name: string): Promise<void> => {
    const task = model.tasks.get(name)
    if (task !== undefined) model.remove(task, clock.now())
    expect(`delete ${name}`, await outcome(engine.deleteTask(name)), task === undefined ? 'NOT_FOUND' : 'OK')
  }
  const runNow = async (name: string): Promise<void> => {
    const wanted = model.tasks.has(name) ? 'OK' : 'NOT_FOUND'
    // The attempt starts while the call is made; whatever starts later is bound by the rules again.
    model.forcing = true
    const call = outcome(engine.runTask(name))
    model.forcing = false
    expect(`run ${name}`, await call, wanted)
  }
  const answer = async (status: number): Promise<void> => {
    const [attempt] = open.splice(pick(open.length || 1), 1)
    if (attempt === undefined) return
    model.answered(attempt, status, clock.now())
    await attempt.answer(status)
  }
  const check = (): void => {
    const now = clock.now()
    model.catchUp(now)
    for (const queue of model.queues) {
      const tasks = model.tasksOf(queue)
      const listed = engine.listTasks(queue.name).tasks
      expect(`tasks of ${queue.name}`, listed.map(task => task.name).sort(), tasks.map(task => task.name).sort())
      for (const task of listed) {
        const known = model.tasks.get(task.name)
        expect(`counter of ${task.name}`, task.dispatchCount, known?.dispatchCount)
        if (known?.running === 0) expect(`schedule of ${task.name}`, task.scheduleAt, known.dueAt)
      }
      expect(`counts of ${queue.name}`, engine.counts(queue.name),
        { waiting: tasks.filter(task => task.running === 0).length, running: queue.running })
      const stuck = model.idle(queue, now)
      if (stuck !== undefined) faults.push(stuck)
    }
  }

  for (let step = 0; step < steps; step++) {
    const queue = model.queues[pick(2)]!
    const choice = pick(100)
    if (choice < 30) await create(queue)
    else if (choice < 45) await answer(200)
    else if (choice < 57) await answer([500, 404, 503, 302][pick(4)]!)
    else if (choice < 60) await answer(0)
    else if (choice < 65) await remove(someTask())
    else if (choice < 70) await runNow(someTask())
    else if (choice < 73) {
      queue.paused = !queue.paused
      // A paused queue dispatches nothing once the call has resolved, a resumed one may at any moment from the call on.
      if (queue.paused) await engine.pauseQueue(queue.name)
      else await engine.resumeQueue(queue.name)
    } else if (choice < 74) {
      for (const task of model.tasksOf(queue)) model.remove(task, clock.now())
      const purge = engine.purgeQueue(queue.name)
      await clock.settle()
      await purge
    } else await clock.advance([0, 1, 50, 500, 1000, 5000, 20_000][pick(7)]!)
    await clock.settle()
    check()
    if (faults.length > 0) throw new Error(`after step ${step}: ${faults.join('; ')}`)
  }

  // In the end everything goes through.
  for (const queue of model.queues) {
    queue.paused = false
    await engine.resumeQueue(queue.name)
  }
  for (let round = 0; round < 300 && (model.tasks.size > 0 || open.length > 0); round++) {
    while (open.length > 0) await answer(200)
    await clock.advance(1000)
  }
  check()
  expect('errors', errors, [])
  expect('left over', [...model.tasks.keys()], [])
  await engine.close()
  expect('timers', clock.pending, 0)
  expect('stored', [...(await store.load()).tasks], [])
  if (faults.length > 0) throw new Error(`in the end: ${faults.join('; ')}`)
  return { dispatches }
}

t.test('the engine does what a plain model of Cloud Tasks does', async t => {
  const given = process.env['SEED']
  const seeds = given === undefined ? [1, 2, 3, 4, 5, Date.now() % 1_000_000] : [Number(given)]
  for (const seed of seeds) {
    try {
      const { dispatches } = await run(seed, 1000)
      t.ok(dispatches > 100, `SEED=${seed}: ${dispatches} dispatches`)
    } catch (error) {
      t.fail(`SEED=${seed} ${(error as Error).message}`)
    }
  }
})
