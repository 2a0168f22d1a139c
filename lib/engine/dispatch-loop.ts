import type { AsyncResource } from 'node:async_hooks'
import type { Clock } from '../clock/clock.js'
import { DueHeap } from './due-heap.js'
import type { TaskQueue } from './task-queue.js'

/**
 * Says which queue dispatches next. A queue is in one of three places: in line (it may dispatch now), waiting for a time
 * (its first task or its next token), or idle until something changes. Queues in line take turns, a task each. All waiting
 * queues share one timer, and nothing polls.
 */
export class DispatchLoop {
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #dispatch: (queue: TaskQueue, now: number) => void
  readonly #waiting = new DueHeap<TaskQueue>()
  #readyQueues: TaskQueue[] = []
  #nextReadyQueues: TaskQueue[] = []
  #served = 0
  #budget = PER_TURN
  /** In monotonic time. */
  #turnStartedAt = 0
  #timer: unknown
  #timerAt = Infinity
  #immediate: unknown
  #started = false
  #serving = false

  /**
   * @param scope the async context in which it dispatches, and in which its timers are set
   * @param dispatch is called when `queue` has a task that may go now; it must take that task off the heap, whatever it does
   */
  constructor (clock: Clock, scope: AsyncResource, dispatch: (queue: TaskQueue, now: number) => void) {
    this.#clock = clock
    this.#scope = scope
    this.#dispatch = dispatch
  }

  get started (): boolean {
    return this.#started
  }

  start (queues: Iterable<TaskQueue>): void {
    if (this.#started) return
    this.#started = true
    this.#scope.runInAsyncScope(this.#update, this, queues)
  }

  /** Forgets all queues and leaves no timer. */
  stop (): void {
    this.#started = false
    this.#clock.clearTimeout(this.#timer)
    this.#clock.clearImmediate(this.#immediate)
    this.#timer = this.#immediate = undefined
    this.#timerAt = Infinity
    this.#budget = PER_TURN
    for (const queue of this.#readyQueues) queue.ready = false
    for (const queue of this.#nextReadyQueues) queue.ready = false
    this.#readyQueues = []
    this.#nextReadyQueues = []
    this.#served = 0
    for (let queue = this.#waiting.first; queue !== undefined; queue = this.#waiting.first) this.#waiting.remove(queue)
  }

  /** To be called after anything that may let a queue dispatch sooner or later than before. Dispatches at once if it may. */
  changed (queue: TaskQueue): void {
    if (this.#started && !queue.ready) this.#scope.runInAsyncScope(this.#update, this, [queue])
  }

  #update (queues: Iterable<TaskQueue>): void {
    const now = this.#clock.now()
    for (const queue of queues) this.#place(queue, now)
    this.#serve()
    this.#setTimer()
  }

  #place (queue: TaskQueue, now: number): void {
    const nextAt = queue.nextAt(now)
    if (nextAt <= now) {
      this.#waiting.remove(queue)
      queue.ready = true
      this.#nextReadyQueues.push(queue)
    } else if (nextAt === Infinity) {
      this.#waiting.remove(queue)
    } else {
      this.#waiting.schedule(queue, nextAt)
    }
  }

  /** Serves the line until it is empty or this turn of the event loop has had its share. */
  #serve (): void {
    if (this.#serving) return
    this.#serving = true
    try {
      for (let queue = this.#next(); queue !== undefined; queue = this.#next()) this.#serveOne(queue)
    } finally {
      this.#serving = false
    }
  }

  /** Takes the queue at the head of the line; undefined when there is none or the turn is used up. */
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
    if (queue.nextAt(now) <= now) {
      this.#spend()
      this.#dispatch(queue, now)
    }
    if (this.#started && !queue.ready) this.#place(queue, now)
  }

  #spend (): void {
    const now = this.#clock.monotonic()
    if (this.#immediate === undefined) {
      this.#turnStartedAt = now
      this.#immediate = this.#clock.setImmediate(() => {
        this.#immediate = undefined
        this.#budget = PER_TURN
        this.#serve()
        this.#setTimer()
      })
    }
    this.#budget = now - this.#turnStartedAt > MAX_TURN_MS ? 0 : this.#budget - 1
  }

  #setTimer (): void {
    const at = this.#started ? this.#waiting.first?.dueAt ?? Infinity : Infinity
    // A timer that fires too early costs a look; one is set anew only to fire earlier.
    if (at === this.#timerAt || (at > this.#timerAt && at !== Infinity)) return
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#timerAt = at
    if (at === Infinity) return
    const ms = Math.min(Math.max(0, Math.ceil(at - this.#clock.now())), MAX_TIMEOUT_MS)
    this.#timer = this.#clock.setTimeout(() => { this.#wake() }, ms)
  }

  #wake (): void {
    this.#timer = undefined
    this.#timerAt = Infinity
    const now = this.#clock.now()
    for (let queue = this.#waiting.first; queue !== undefined && queue.dueAt <= now; queue = this.#waiting.first) {
      this.#waiting.remove(queue)
      this.#place(queue, now)
    }
    this.#serve()
    this.#setTimer()
  }
}

/** Dispatches that may start in one turn of the event loop, so that requests are served in between. */
const PER_TURN = 64

/** How long they may keep a turn: without waiting, a handler runs within the turn that dispatches its task. */
const MAX_TURN_MS = 5

/** Beyond this, setTimeout fires at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1
