import type { AsyncResource } from 'node:async_hooks'
import type { Clock } from '../clock/clock.js'
import { DueHeap } from './memory/due-heap.js'
import type { TaskQueue } from './memory/task-queue.js'

/**
 * Decides which queue dispatches next. A queue is in one of three states: ready (it can dispatch now), waiting for a time (its
 * first task or its next token), or idle until something changes. Ready queues are served round-robin, one task each. All waiting
 * queues share one timer; there is no polling.
 *
 * Tasks are due by the wall clock, which can jump. The timer never runs for more than a minute, so a jump is noticed within one.
 */
export class DispatchLoop {
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #dispatch: (queue: TaskQueue) => void
  readonly #waiting = new DueHeap<TaskQueue>()
  #readyQueues: TaskQueue[] = []
  #nextReadyQueues: TaskQueue[] = []
  #served = 0
  #budget = PER_TURN
  /** In monotonic time. */
  #turnStartedAt = 0
  #timer: unknown
  /** When the timer fires, in monotonic time. */
  #timerAt = Infinity
  /** Wall time less monotonic time, the most at which any waiting queue was placed. */
  #offset = -Infinity
  #immediate: unknown
  #started = false
  #held = false
  #serving = false

  /**
   * @param scope the async context in which it dispatches, and in which its timers are set
   * @param dispatch called when a task of `queue` can be dispatched; it must remove that task from the heap in any case
   */
  constructor (clock: Clock, scope: AsyncResource, dispatch: (queue: TaskQueue) => void) {
    this.#clock = clock
    this.#scope = scope
    this.#dispatch = dispatch
  }

  get started (): boolean {
    return this.#started
  }

  /** Whether it dispatches nothing automatically, even if it is started. */
  get held (): boolean {
    return this.#held
  }

  start (queues: Iterable<TaskQueue>): void {
    if (this.#started) return
    this.#started = true
    if (!this.#held) this.#scope.runInAsyncScope(this.#update, this, queues)
  }

  /** Forgets all queues and leaves no timer. */
  stop (): void {
    this.#started = false
    this.#rest()
  }

  /** Dispatches nothing until `release`, even if it is started in the meantime. */
  hold (): void {
    this.#held = true
    this.#rest()
  }

  release (queues: Iterable<TaskQueue>): void {
    this.#held = false
    if (this.#started) this.#scope.runInAsyncScope(this.#update, this, queues)
  }

  get #active (): boolean {
    return this.#started && !this.#held
  }

  #rest (): void {
    this.#clearTimer()
    this.#clock.clearImmediate(this.#immediate)
    this.#immediate = undefined
    this.#budget = PER_TURN
    for (const queue of this.#readyQueues) queue.ready = false
    for (const queue of this.#nextReadyQueues) queue.ready = false
    this.#readyQueues = []
    this.#nextReadyQueues = []
    this.#served = 0
    for (let queue = this.#waiting.first; queue !== undefined; queue = this.#waiting.first) this.#waiting.remove(queue)
  }

  /** Call it after any change that can affect when a queue dispatches next. Dispatches at once if possible. */
  changed (queue: TaskQueue): void {
    if (this.#active && !queue.ready) this.#scope.runInAsyncScope(this.#update, this, [queue])
  }

  #update (queues: Iterable<TaskQueue>): void {
    this.#placeAll(queues)
    this.#serve()
    this.#setTimer()
  }

  #placeAll (queues: Iterable<TaskQueue>): void {
    const now = this.#clock.now()
    const monotonic = this.#clock.monotonic()
    for (const queue of queues) this.#place(queue, now, monotonic)
  }

  #place (queue: TaskQueue, now: number, monotonic: number): void {
    const nextAt = queue.nextAt(now, monotonic)
    if (nextAt <= now) {
      this.#waiting.remove(queue)
      queue.ready = true
      this.#nextReadyQueues.push(queue)
    } else if (nextAt === Infinity) {
      this.#waiting.remove(queue)
    } else {
      this.#offset = Math.max(this.#offset, now - monotonic)
      this.#waiting.schedule(queue, nextAt)
    }
  }

  /** Serves ready queues until there are none, or this turn of the event loop has had its share. */
  #serve (): void {
    if (this.#serving) return
    this.#serving = true
    try {
      for (let queue = this.#next(); queue !== undefined; queue = this.#next()) this.#serveOne(queue)
    } finally {
      this.#serving = false
    }
  }

  /** Takes the first ready queue; undefined when there is none or the turn is used up. */
  #next (): TaskQueue | undefined {
    if (this.#budget === 0) return undefined
    if (this.#served === this.#readyQueues.length) {
      this.#readyQueues = this.#nextReadyQueues
      this.#nextReadyQueues = []
      this.#served = 0
    }
    const queue = this.#readyQueues[this.#served++]
    if (queue === undefined) this.#served = 0
    else queue.ready = false
    return queue
  }

  #serveOne (queue: TaskQueue): void {
    const now = this.#clock.now()
    const monotonic = this.#clock.monotonic()
    if (queue.nextAt(now, monotonic) <= now) {
      this.#spend(monotonic)
      queue.limiter.take(monotonic)
      this.#dispatch(queue)
    }
    if (this.#active && !queue.ready) this.#place(queue, now, monotonic)
  }

  #spend (monotonic: number): void {
    if (this.#immediate === undefined) {
      this.#turnStartedAt = monotonic
      this.#immediate = this.#clock.setImmediate(() => { this.#scope.runInAsyncScope(this.#nextTurn, this) })
    }
    this.#budget = monotonic - this.#turnStartedAt > MAX_TURN_MS ? 0 : this.#budget - 1
  }

  #nextTurn (): void {
    this.#immediate = undefined
    this.#budget = PER_TURN
    this.#serve()
    this.#setTimer()
  }

  #setTimer (): void {
    const first = this.#active ? this.#waiting.first : undefined
    if (first === undefined) {
      this.#clearTimer()
      return
    }
    const ms = Math.min(Math.max(0, Math.ceil(first.dueAt - this.#clock.now())), MAX_WAIT_MS)
    const at = this.#clock.monotonic() + ms
    // A timer that fires too early is cheap, so it is replaced only by one that fires noticeably earlier.
    if (at > this.#timerAt - 1) return
    this.#clearTimer()
    this.#timerAt = at
    this.#timer = this.#clock.setTimeout(() => { this.#scope.runInAsyncScope(this.#wake, this) }, ms)
  }

  #clearTimer (): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#timerAt = Infinity
  }

  #wake (): void {
    this.#timer = undefined
    this.#timerAt = Infinity
    this.#placeAll(this.#due())
    this.#serve()
    this.#setTimer()
  }

  /** The waiting queues that are due; all of them after the wall clock was set back, because their times refer to the old clock. */
  #due (): TaskQueue[] {
    const now = this.#clock.now()
    const offset = now - this.#clock.monotonic()
    if (offset < this.#offset - JUMP_MS) {
      this.#offset = offset
      return [...this.#waiting.values()]
    }
    const due: TaskQueue[] = []
    for (let queue = this.#waiting.first; queue !== undefined && queue.dueAt <= now; queue = this.#waiting.first) {
      this.#waiting.remove(queue)
      due.push(queue)
    }
    return due
  }
}

/** Maximum number of dispatches in one turn of the event loop, so that requests are served in between. */
const PER_TURN = 64

/** Maximum duration of such a turn: the synchronous part of a handler runs in the turn that dispatches its task. */
const MAX_TURN_MS = 5

/** Maximum delay of overdue tasks after the wall clock has jumped ahead. */
const MAX_WAIT_MS = 60_000

/** If the wall clock falls behind the monotonic one by more than this, it was set back. */
const JUMP_MS = 1000
