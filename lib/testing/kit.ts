import type { FastifyInstance } from 'fastify'
import { boolean, integer, isPlainObject, option, readOptions, string, type Declared } from '../checks.js'
import type { Clock } from '../clock/clock.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import { MAX_ATTEMPT } from '../cloud-tasks/headers.js'
import { generateTaskId } from '../cloud-tasks/names.js'
import { lookUp, outgoingTask, taskId } from '../enqueue.js'
import {
  FST_TASKS_CLOSING, FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL, FST_TASKS_KIT_DISPOSED, FST_TASKS_NO_HANDLER
} from '../errors.js'
import { reservedHeader } from '../delivery/headers.js'
import { routePath } from '../delivery/path.js'
import { rootOf } from '../fastify-internals.js'
import type { PluginHandle } from '../plugin-handle.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { RegisteredTypeProvider, TaskDefinitions, TaskPayload } from '../registry/definitions.js'
import type { LocalTransport } from '../transport/local.js'
import {
  assertEnqueued, readExpectation, refuteEnqueued, type EnqueuedTask, type EnqueuedWith, type Expectation, type PartOf
} from './assertions.js'
import { AttemptResults, type TestedAttempt } from './attempt-results.js'
import { readAdvance } from './duration.js'
import { KitClock } from './kit-clock.js'
import { Registration } from './registration.js'
import { WaitingTasks, type WaitingTask } from './waiting-tasks.js'

/** What a test can see and do of the tasks of an app. Times are those of `clock`. */
export interface TestKit<M, F = RegisteredTypeProvider> {
  /** The plugin's clock: the process's, which a test runner may fake, and ahead of it by what `advance` and `drain` have moved it. */
  readonly clock: Pick<Clock, 'now'>
  /**
   * The tasks that wait, in the order in which they were enqueued: those that are due, scheduled, or to be retried. One whose handler has
   * succeeded is not among them any more.
   * @throws FST_TASKS_NOT_REGISTERED
   */
  enqueued<N extends keyof M & string> (name: N): Array<EnqueuedTask<N, TaskPayload<M, N, F>>>
  enqueued (): Array<{ [N in keyof M & string]: EnqueuedTask<N, TaskPayload<M, N, F>> }[keyof M & string]>
  /**
   * Returns the first task that waits and is as expected.
   * @param payload part of it, or a function that decides about it. @default any
   * @throws AssertionError of node:assert; FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_KIT_CALL
   */
  assertEnqueued<N extends keyof M & string> (
    name: N, payload?: PartOf<TaskPayload<M, N, F>> | ((payload: TaskPayload<M, N, F>) => boolean), other?: EnqueuedWith
  ): EnqueuedTask<N, TaskPayload<M, N, F>>
  /**
   * That no task waits that is as described.
   * @throws AssertionError of node:assert; FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_KIT_CALL
   */
  refuteEnqueued<N extends keyof M & string> (
    name: N, payload?: PartOf<TaskPayload<M, N, F>> | ((payload: TaskPayload<M, N, F>) => boolean), other?: Omit<EnqueuedWith, 'times'>
  ): void
  /**
   * Runs the tasks that are due, and those that they enqueue, one after another through their routes, whatever the rates of their queues
   * are. Tasks without a handler in this process, and those of paused queues, stay. It returns attempts that fail as well, and throws no
   * handler's error.
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL
   */
  drain (options?: DrainOptions): Promise<Array<TestedAttempt<keyof M & string>>>
  /**
   * Moves the clock, and runs what falls due on the way as `drain` does.
   * @param by milliseconds, a duration such as `30s`, `1.5h` or `7d`, or the time to move to
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL
   */
  advance (by: number | string | Date, options?: AdvanceOptions): Promise<Array<TestedAttempt<keyof M & string>>>
  /**
   * Delivers one attempt of a task that no queue has, and so is never retried, through its route. The payload is not validated before: one
   * that does not fit is answered 400, as in production.
   * @throws FST_TASKS_NOT_REGISTERED, FST_TASKS_NO_HANDLER, FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_KIT_CALL
   */
  deliver<N extends keyof M & string> (name: N, payload: TaskPayload<M, N, F>, options?: DeliverOptions): Promise<TestedAttempt<N>>
  /** Removes all tasks that wait, and lets the ids of all former ones be used again. */
  clear (): Promise<void>
  /**
   * Ends the kit; what waits is dispatched again, but tasks that would have gone to Google Cloud are discarded. The clock is the process's
   * again. Closing the app ends its kit as well. May be called again.
   */
  dispose (): Promise<void>
  [Symbol.dispose] (): void
  [Symbol.asyncDispose] (): Promise<void>
}

export interface AdvanceOptions {
  /** Attempts after which it throws instead of going on: a handler may enqueue its own task for ever. @default 10000 */
  readonly maxAttempts?: number
}

export interface DrainOptions extends AdvanceOptions {
  /** Also runs what is scheduled or to be retried: moves the clock, without waiting, until nothing is left. @default false */
  readonly scheduled?: boolean
}

export interface DeliverOptions {
  /** From 1. The attempts before it count as failed with 500. @default 1 */
  readonly attempt?: number
  /** What the handler sees as `task.id`: as it is, or hashed as by `enqueue`. @default a new one */
  readonly id?: string
  /** @default the definition's, else the plugin's */
  readonly queue?: string
  readonly headers?: Readonly<Record<string, string>>
}

const advanceOptions = {
  maxAttempts: integer(1, Number.MAX_SAFE_INTEGER, { default: 10_000 })
} satisfies Declared<AdvanceOptions>

const drainOptions = {
  ...advanceOptions,
  scheduled: boolean({ default: false })
} satisfies Declared<DrainOptions>

const deliverOptions = {
  attempt: integer(1, MAX_ATTEMPT, { default: 1 }),
  id: string({ valid: id => id.length >= 1 && id.length <= 500, must: 'must be a string of 1 to 500 characters' }),
  queue: string(),
  headers: option<Readonly<Record<string, string>>>(headers => isPlainObject(headers) ? undefined : 'must be an object of strings')
} satisfies Declared<DeliverOptions>

/** In the contexts that Jest makes on Node.js 20, the symbols are missing; compilers of `using` look for these instead. */
const dispose = (Symbol.dispose ?? Symbol.for('Symbol.dispose')) as typeof Symbol.dispose
const asyncDispose = (Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')) as typeof Symbol.asyncDispose

/** Everything that a kit holds of a registration, until it is disposed of. */
interface Held {
  readonly local: LocalTransport
  readonly waiting: WaitingTasks
}

type Any = Readonly<Record<string, any>>

/** What epoch milliseconds with a fraction are exact to. */
const RESOLUTION_MS = 0.001

export class Kit implements Omit<TestKit<Any>, typeof Symbol.dispose | typeof Symbol.asyncDispose> {
  readonly clock = new KitClock()
  readonly #app: FastifyInstance
  readonly #registration: Registration
  readonly #results = new AttemptResults()
  /** How many tasks of a name have run and ended. */
  readonly #ran = new Map<string, number>()
  #held: Held | undefined
  #holding: Promise<Held> | undefined
  #restoreClock = (): void => {}
  /** Ends what this has to watch attempts. */
  #unwatch = (): void => {}
  #disposed: Promise<void> | undefined

  constructor (app: FastifyInstance, tasks: TaskDefinitions | undefined) {
    this.#app = app
    this.#registration = new Registration(app, tasks, this, handle => { this.#hold(handle) })
  }

  enqueued (name?: string): EnqueuedTask[] {
    const { handle } = this.#inUse('enqueued()')
    if (name !== undefined) lookUp(handle.registry, name)
    const enqueued = this.#held?.waiting.all().flatMap(task => enqueuedTask(task)) ?? []
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
    const { waiting } = await this.#ready('drain()')
    const run = this.#runner('drain()', maxAttempts)
    for (;;) {
      const first = waiting.first()
      const waitMs = this.#untilDue(first)
      if (first !== undefined && waitMs === 0) {
        await run.next(first)
      } else if (first !== undefined && scheduled) {
        await this.#move(waitMs)
      } else {
        // Attempts that were under way already.
        const { running } = waiting
        if (running === undefined) return run.attempts
        await waiting.attemptOf(running)
      }
    }
  }

  async advance (by: number | string | Date, options: AdvanceOptions = {}): Promise<TestedAttempt[]> {
    const { maxAttempts } = readOptions(advanceOptions, options, { refuse: refusal('advance') })
    let leftMs = readAdvance(by, this.clock.now(), refusal('advance'))
    const { waiting } = await this.#ready('advance()')
    const run = this.#runner('advance()', maxAttempts)
    // Attempts that have just started set their deadlines.
    await this.clock.settle()
    for (;;) {
      const first = waiting.first()
      const waitMs = this.#untilDue(first)
      if (first !== undefined && waitMs === 0) await run.next(first)
      else if (leftMs > 0) leftMs -= await this.#move(Math.min(waitMs, leftMs))
      else return run.attempts
    }
  }

  async deliver (name: string, payload: unknown, options: DeliverOptions = {}): Promise<TestedAttempt<any>> {
    const { attempt, id, queue, headers } = readOptions(deliverOptions, options, { refuse: refusal('deliver') })
    const { local, handle: { registry, payloads, config } } = await this.#ready('deliver()')
    const task = lookUp(registry, name)
    if (task.handler === undefined) throw new FST_TASKS_NO_HANDLER(name)
    const text = payloads.print(task, payload)
    const enqueued = outgoingTask(task, text, headers === undefined ? {} : { headers }, this.clock.now())
    const outgoing = { ...enqueued, id: id === undefined ? generateTaskId() : taskId(name, id) }
    const key = { id: outgoing.id, queue: queue ?? task.queue ?? config.queue, attempt }
    const answer = await local.deliverOnce(key.queue, outgoing, attempt).catch((error: unknown) => error as Error)
    if (answer === 'undelivered') throw new FST_TASKS_CLOSING()
    return answer instanceof Error
      ? this.#results.take(name, key, undefined, answer, undefined)
      : this.#results.take(name, key, answer.status, undefined, undefined)
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
    // A failure is an unhandled rejection: no caller waits for it.
    this.dispose()
  }

  async [asyncDispose] (): Promise<void> {
    await this.dispose()
  }

  #hold (handle: PluginHandle): void {
    const former = handle.clock.current
    const unwatch = handle.watchers.add(this.#results)
    // When the app closes, its grace period passes in real time, and attempts under way still end.
    const queue = handle.transport.hold(() => { this.#end(async () => {}) })
    handle.clock.switchTo(this.clock)
    this.#restoreClock = () => { handle.clock.switchTo(former) }
    this.#unwatch = () => {
      unwatch()
      this.#held?.waiting.close()
    }
    const { app, config, registry } = handle
    const byPath = new Map<string, RegisteredTask>([...registry.values()].map(task => [routePath(app, config.prefix, task.path), task]))
    const watch = (local: LocalTransport): Held => {
      this.#held = { local, waiting: new WaitingTasks(local, byPath) }
      return this.#held
    }
    if (!(queue instanceof Promise)) {
      watch(queue)
      return
    }
    this.#holding = queue.then(watch)
    this.#holding.catch(() => {}) // Every call that needs it gets the error.
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

  /** The queue, once the app can deliver. */
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

  #untilDue (task: WaitingTask | undefined): number {
    const ms = task === undefined ? Infinity : task.dueAt - this.clock.now()
    return ms < RESOLUTION_MS ? 0 : ms
  }

  /** Moves the clock by `ms`, or only to the next timer: what that sets off may be due earlier. Returns by how much. */
  async #move (ms: number): Promise<number> {
    const before = this.clock.monotonic()
    if (!this.clock.step(ms)) return ms
    await this.clock.settle()
    return this.clock.monotonic() - before
  }

  /** Runs attempts one after another, and counts them. */
  #runner (call: string, maxAttempts: number) {
    const attempts: TestedAttempt[] = []
    const next = async ({ name, definition }: WaitingTask): Promise<void> => {
      if (attempts.length === maxAttempts) throw new FST_TASKS_DRAIN_UNBOUNDED(call, maxAttempts, attempts.at(-1)!.task)
      const { local, waiting } = this.#held!
      const end = waiting.attemptOf(name)
      try {
        await local.engine.runTask(name, false)
      } catch (error) {
        // It has outlived its retention.
        if (!(error instanceof CloudTasksError) || error.code !== 'NOT_FOUND') throw error
        waiting.forget(name)
        return
      }
      const report = await end
      if (report === undefined) throw new FST_TASKS_CLOSING()
      // The route, which sees its caller hang up, settles the attempt a moment later.
      if (report.how === 'deadline') await this.clock.turn()
      const task = definition!.name
      attempts.push(this.#results.ofReport(task, report))
      if (report.retryAt === undefined) this.#ran.set(task, (this.#ran.get(task) ?? 0) + 1)
    }
    return { attempts, next }
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

/** None where the registry has no task of that path any more. */
function enqueuedTask (task: WaitingTask): EnqueuedTask[] {
  if (task.definition === undefined) return []
  return [{
    name: task.definition.name,
    id: task.id,
    payload: task.payload,
    queue: task.queue,
    scheduleTime: new Date(task.dueAt),
    headers: Object.fromEntries(Object.entries(task.headers).filter(([name]) => !reservedHeader(name))),
    attempts: task.attempts
  }]
}
