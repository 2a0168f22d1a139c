import { AsyncResource } from 'node:async_hooks'
import { systemClock, type Clock } from '../clock/clock.js'
import { MAX_DISPATCHES_PER_SECOND } from '../cloud-tasks/limits.js'
import { queueNameOf } from '../cloud-tasks/names.js'
import type { Task } from '../cloud-tasks/task.js'
import type { Store } from '../store/store.js'
import { Attempts } from './attempts.js'
import { DispatchLoop } from './dispatch-loop.js'
import type { Dispatcher } from './dispatcher.js'
import { ExpiryReports, Retention, type ExpiryReport } from './expiry.js'
import { Observers } from './observers.js'
import { Queues } from './queues.js'
import { Tasks } from './tasks.js'
import { WriteBehind, type ErrorContext } from './write-behind.js'

export interface EngineOptions {
  readonly store: Store
  readonly dispatch: Dispatcher
  /** @default systemClock */
  readonly clock?: Clock
  /**
   * The async context of everything that the engine starts: attempts, timers, observers and errors. Never that of the call that stored
   * a task or freed a slot, as one call can start attempts of many others. @default where the engine is created
   */
  readonly scope?: AsyncResource
  /** How long the name of a finished task cannot be reused, unless its queue has its own setting. 0: not at all. @default 1 hour */
  readonly taskTombstoneMs?: number
  /** How long the name of a deleted queue cannot be reused. 0: not at all. @default 7 days */
  readonly queueTombstoneMs?: number
  /**
   * Whether to remember generated ids too, as production does, so that GetTask distinguishes a finished task from one that never
   * existed. Uses memory for every task that has finished within `taskTombstoneMs`. @default false
   */
  readonly rememberGeneratedNames?: boolean
  /** Maximum rate of a queue, in dispatches a second. @default 500, as in Cloud Tasks */
  readonly maxDispatchesPerSecond?: number
  /** Called with errors that no caller receives. @default process.emitWarning */
  readonly onError?: (error: unknown, where: ErrorContext) => void
  /**
   * Called with the last state of each expired task (31 days), after its end is stored, and at most once per task. It occupies a slot of
   * the queue until the returned promise resolves. @default does nothing
   */
  readonly onExpired?: (task: Task) => unknown
  /** Called at most once a second with the tasks that have expired since the last call. @default process.emitWarning */
  readonly reportExpired?: (report: ExpiryReport) => void
}

/** The parts of an engine. */
export interface EngineParts {
  readonly store: Store
  readonly clock: Clock
  readonly queues: Queues
  readonly tasks: Tasks
  readonly dispatchLoop: DispatchLoop
  readonly attempts: Attempts
  readonly writeBehind: WriteBehind
  readonly retention: Retention
  readonly expiryReports: ExpiryReports
  readonly observers: Observers
  readonly onError: (error: unknown, where: ErrorContext) => void
  /** How long the name of a finished task or deleted queue cannot be reused. */
  readonly tombstoneMs: (name: string) => number
}

/** Creates the parts, connected to each other. */
export function assemble (options: EngineOptions): EngineParts {
  const { store, dispatch, clock = systemClock, scope = new AsyncResource('fastify-cloud-tasks'), onExpired = () => {} } = options
  const { taskTombstoneMs = HOUR_MS, queueTombstoneMs = 7 * 24 * HOUR_MS, rememberGeneratedNames = false } = options
  const { maxDispatchesPerSecond = MAX_DISPATCHES_PER_SECOND, onError: report = warn, reportExpired = warnOfExpired } = options

  const onError = (error: unknown, where: ErrorContext): void => { scope.runInAsyncScope(report, undefined, error, where) }
  const tombstoneMs = (name: string): number => {
    if (!name.includes('/tasks/')) return queueTombstoneMs
    const seconds = queues.find(queueNameOf(name))?.stored.settings.tombstoneTtlSeconds
    return seconds === undefined ? taskTombstoneMs : seconds * 1000
  }
  const observers = new Observers(scope, onError)
  const writeBehind: WriteBehind = new WriteBehind({
    store,
    clock,
    onError,
    tombstoneMs,
    rememberGeneratedNames,
    find: name => tasks.isChanging(name) ? null : queues.find(queueNameOf(name))?.tasks.get(name)
  })
  const dispatchLoop = new DispatchLoop(clock, scope, queue => { attempts.start(queue, queue.due.first!, false) })
  const retention = new Retention(clock, error => { onError(error, { during: 'expire' }) })
  const expiryReports = new ExpiryReports(clock, expired => { scope.runInAsyncScope(reportExpired, undefined, expired) })
  const attempts = new Attempts({
    clock,
    writeBehind,
    dispatch,
    observers,
    retention,
    expiryReports,
    onExpired,
    onError,
    onEnd: queue => { dispatchLoop.changed(queue) }
  })
  const queues = new Queues({
    store, clock, writeBehind, dispatchLoop, observers, tombstoneMs: queueTombstoneMs, maxRate: maxDispatchesPerSecond
  })
  const tasks: Tasks = new Tasks({ store, clock, scope, writeBehind, queues, attempts, dispatchLoop, retention, observers })
  return { store, clock, queues, tasks, dispatchLoop, attempts, writeBehind, retention, expiryReports, observers, onError, tombstoneMs }
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

function warnOfExpired ({ count, names }: ExpiryReport): void {
  process.emitWarning(`${count} tasks were dropped because they were older than 31 days: ${names.join(', ')}`)
}

const HOUR_MS = 3600 * 1000
