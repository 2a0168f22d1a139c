import type { FastifyInstance } from 'fastify'
import { readOptions } from '../checks.js'
import { realClock } from '../clock/clock.js'
import { generateTaskId } from '../cloud-tasks/names.js'
import { routePath } from '../delivery/path.js'
import { lookUp, outgoingTask, taskId } from '../enqueue.js'
import { FST_TASKS_CLOSING, FST_TASKS_INVALID_KIT_CALL, FST_TASKS_KIT_DISPOSED, FST_TASKS_NO_HANDLER } from '../errors.js'
import { rootOf } from '../fastify-internals.js'
import type { PluginHandle } from '../plugin-handle.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { TaskDefinitions } from '../registry/definitions.js'
import type { LocalTransport } from '../transport/local.js'
import { Arrivals, type Departure } from './arrivals.js'
import {
  assertEnqueued, readExpectation, refuteEnqueued, type EnqueuedTask, type EnqueuedWith, type Expectation
} from './assertions.js'
import { AttemptResults, type TestedAttempt } from './attempt-results.js'
import { readAdvance, type KitDuration } from './duration.js'
import { KitClock } from './kit-clock.js'
import { Registration } from './registration.js'
import { SequentialRun } from './sequential-run.js'
import {
  advanceOptions, deliverOptions, drainOptions, type AdvanceOptions, type DeliverOptions, type DrainOptions, type TestKit
} from './test-kit.js'
import { WaitingTasks } from './waiting-tasks.js'

/** Jest's contexts on Node.js 20 lack the symbols; compilers of `using` then look for these. */
const dispose = (Symbol.dispose ?? Symbol.for('Symbol.dispose')) as typeof Symbol.dispose
const asyncDispose = (Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')) as typeof Symbol.asyncDispose

/** The parts of a registration that a kit holds until it is disposed of. */
interface Held {
  readonly local: LocalTransport
  readonly waiting: WaitingTasks
}

type Any = Readonly<Record<string, any>>

export class Kit implements Omit<TestKit<Any>, typeof Symbol.dispose | typeof Symbol.asyncDispose> {
  readonly clock = new KitClock()
  readonly #app: FastifyInstance
  readonly #registration: Registration
  readonly #arrivals = new Arrivals()
  readonly #results = new AttemptResults(this.#arrivals)
  /** Number of ended tasks by name. */
  readonly #ran = new Map<string, number>()
  #held: Held | undefined
  #holding: Promise<Held> | undefined
  #restoreClock = (): void => {}
  /** Removes the watchers. */
  #unwatch = (): void => {}
  #disposed: Promise<void> | undefined

  constructor (app: FastifyInstance, tasks: TaskDefinitions | undefined) {
    this.#app = app
    this.#registration = new Registration(app, tasks, this, handle => { this.#hold(handle) })
  }

  enqueued (name?: string): EnqueuedTask[] {
    const { handle } = this.#inUse('enqueued()')
    if (name !== undefined) lookUp(handle.registry, name)
    const { deadLetterQueue } = handle.config
    const waiting = this.#held?.waiting.all().filter(({ queue }) => queue !== deadLetterQueue) ?? []
    const enqueued = waiting.flatMap(task => task.enqueued ?? [])
    return name === undefined ? enqueued : enqueued.filter(task => task.name === name)
  }

  assertEnqueued (name: string, payload?: unknown, other: EnqueuedWith = {}): EnqueuedTask<any, any> {
    const expectation = this.#expectation('assertEnqueued', name, payload, other)
    return assertEnqueued(this.enqueued(), expectation, this.#ran.get(name) ?? 0)[0]!
  }

  refuteEnqueued (name: string, payload?: unknown, other: EnqueuedWith = {}): void {
    refuteEnqueued(this.enqueued(), this.#expectation('refuteEnqueued', name, payload, other))
  }

  async drain (options: DrainOptions = {}): Promise<TestedAttempt[]> {
    const { scheduled, maxAttempts } = readOptions(drainOptions, options, { refuse: refusal('drain') })
    await this.#ready('drain()')
    const run = this.#run('drain()', maxAttempts)
    return await this.clock.holding(async () => await run.drain(scheduled))
  }

  async advance (by: number | KitDuration | Date, options: AdvanceOptions = {}): Promise<TestedAttempt[]> {
    const { maxAttempts } = readOptions(advanceOptions, options, { refuse: refusal('advance') })
    const ms = readAdvance(by, this.clock, refusal('advance'))
    await this.#ready('advance()')
    const run = this.#run('advance()', maxAttempts)
    return await this.clock.holding(async () => await run.advance(ms))
  }

  async deliver (name: string, payload: unknown, options: DeliverOptions = {}): Promise<TestedAttempt<any>> {
    const departure = this.#arrivals.depart()
    try {
      return await this.#deliver(departure, name, payload, options)
    } finally {
      this.#arrivals.end(departure)
    }
  }

  async clear (): Promise<void> {
    this.#inUse('clear()')
    this.#ran.clear()
    const { local } = this.#held ?? await this.#holding!
    await local.engine.clear()
  }

  dispose (): Promise<void> {
    this.#end(async () => {
      this.#unwatch()
      await this.#registration.handle?.transport.release()
    })
    return this.#disposed!
  }

  [dispose] (): void {
    // A failure becomes an unhandled rejection, because no caller awaits it.
    this.dispose()
  }

  async [asyncDispose] (): Promise<void> {
    await this.dispose()
  }

  async #deliver (departure: Departure, name: string, payload: unknown, options: DeliverOptions): Promise<TestedAttempt<any>> {
    const { attempt, id, queue, headers } = readOptions(deliverOptions, options, { refuse: refusal('deliver') })
    const { local, handle: { registry, payloads, config } } = await this.#ready('deliver()')
    const task = lookUp(registry, name)
    if (task.handler === undefined) throw new FST_TASKS_NO_HANDLER(name)
    if (queue !== undefined && queue === config.deadLetterQueue) {
      throw refusal('deliver')("'queue' is the dead-letter queue, whose tasks do not run")
    }
    const text = payloads.print(task, payload)
    const enqueued = outgoingTask(task, text, headers === undefined ? {} : { headers }, this.clock.now())
    const outgoing = { ...enqueued, id: id === undefined ? generateTaskId() : taskId(name, id) }
    const key = { id: outgoing.id, queue: queue ?? task.queue ?? config.queue, attempt }
    departure.task = key
    const answer = await local.deliverOnce(key.queue, outgoing, attempt).catch((error: unknown) => error as Error)
    if (answer === 'undelivered') throw new FST_TASKS_CLOSING()
    return answer instanceof Error
      ? this.#results.take(name, key, undefined, answer, undefined)
      : this.#results.take(name, key, answer.status, undefined, undefined)
  }

  #hold (handle: PluginHandle): void {
    const unwatch = handle.watchers.add(this.#results)
    // When the app closes, its grace period is in real time, and running attempts still end.
    const queue = handle.transport.hold(() => {
      this.#end(async () => {})
      handle.clock.switchTo(realClock)
    })
    const former = handle.clock.current
    handle.clock.switchTo(this.clock)
    this.#restoreClock = () => { handle.clock.switchTo(former) }
    this.#unwatch = () => {
      unwatch()
      this.#held?.waiting.close()
    }
    const { app, config, registry } = handle
    const byPath = new Map<string, RegisteredTask>([...registry.values()].map(task => [routePath(app, config.prefix, task.path), task]))
    const watch = (local: LocalTransport): Held => {
      this.#held = { local, waiting: new WaitingTasks(local, this.clock, byPath) }
      return this.#held
    }
    if (!(queue instanceof Promise)) {
      watch(queue)
      return
    }
    this.#holding = queue.then(watch)
    this.#holding.catch(() => {}) // All calls that await it get the error.
  }

  #end (release: () => Promise<void>): void {
    if (this.#disposed !== undefined) return
    this.#registration.end()
    this.#restoreClock()
    this.#disposed = release()
  }

  #inUse (call: string): { readonly handle: PluginHandle } {
    if (this.#disposed !== undefined) throw new FST_TASKS_KIT_DISPOSED()
    return { handle: this.#registration.required(call) }
  }

  /** The queue, when the app is ready. */
  async #ready (call: string): Promise<Held & { readonly handle: PluginHandle }> {
    if (this.#disposed !== undefined) throw new FST_TASKS_KIT_DISPOSED()
    await rootOf(this.#app).ready()
    const { handle } = this.#inUse(call)
    const held = this.#held ?? await this.#holding!
    const { setBackMs } = this.clock
    if (setBackMs > 0) {
      throw new FST_TASKS_INVALID_KIT_CALL(call, `the clock of this process was set back by ${Math.round(setBackMs / 1000)} s; ` +
        'enable fake timers before testTasks(app), or start them at kit.clock.now(), and restore them after kit.dispose()')
    }
    return { ...held, handle }
  }

  #run (call: string, maxAttempts: number): SequentialRun {
    const { local, waiting } = this.#held!
    const ended = (task: string): void => { this.#ran.set(task, (this.#ran.get(task) ?? 0) + 1) }
    return new SequentialRun({
      call, maxAttempts, engine: local.engine, waiting, results: this.#results, arrivals: this.#arrivals, clock: this.clock, ended
    })
  }

  #expectation (call: Expectation['call'], name: string, payload: unknown, other: unknown): Expectation {
    lookUp(this.#inUse(`${call}()`).handle.registry, name)
    const from = call === 'assertEnqueued' ? this.assertEnqueued : this.refuteEnqueued
    return readExpectation({ call, name, payload, from: from as Expectation['from'] }, other, refusal(call))
  }
}

function refusal (call: string): (problem: string) => Error {
  return problem => new FST_TASKS_INVALID_KIT_CALL(`${call}()`, problem)
}
