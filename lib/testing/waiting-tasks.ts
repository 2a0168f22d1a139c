import { queueNameOf, shortId } from '../cloud-tasks/names.js'
import type { Task } from '../cloud-tasks/task.js'
import { reservedHeader } from '../delivery/headers.js'
import { DueHeap, type Due } from '../engine/memory/due-heap.js'
import type { AttemptReport, Engine } from '../engine/engine.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { LocalTransport } from '../transport/local.js'
import { pathOf } from '../transport/local/delivery.js'
import type { EnqueuedTask } from './assertions.js'
import type { KitClock } from './kit-clock.js'

/** A pending task of an app under test. */
export class WaitingTask implements Due {
  readonly name: string
  /** Undefined if no task in the registry has its path. */
  readonly definition: RegisteredTask | undefined
  readonly task: Task
  dueAt: number
  readonly order: number
  position = -1
  attempts: number
  /** Running attempts: more than one only when started manually, in the console. */
  running = 0

  constructor (task: Task, definition: RegisteredTask | undefined, order: number) {
    this.name = task.name
    this.definition = definition
    this.task = task
    this.dueAt = task.scheduleAt
    this.order = order
    this.attempts = task.dispatchCount
  }

  get id (): string {
    return shortId(this.name)
  }

  /** Short id. */
  get queue (): string {
    return shortId(queueNameOf(this.name))
  }

  /** As sent. */
  get payload (): unknown {
    const { body } = this.task.httpRequest ?? this.task.appEngineHttpRequest ?? {}
    return body === undefined ? undefined : JSON.parse(Buffer.from(body).toString())
  }

  /** As passed to `enqueue`. */
  get headers (): Readonly<Record<string, string>> {
    const { headers = {} } = this.task.httpRequest ?? this.task.appEngineHttpRequest ?? {}
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !reservedHeader(name)))
  }

  /** What a test is shown; undefined if no task in the registry has its path. */
  get enqueued (): EnqueuedTask | undefined {
    const { definition, id, payload, queue, dueAt, headers, attempts } = this
    if (definition === undefined) return undefined
    return { name: definition.name, id, payload, queue, scheduleTime: new Date(dueAt), headers, attempts }
  }
}

/** The tasks of an engine, kept up to date by observing it, and ordered by due time. */
export class WaitingTasks {
  readonly #engine: Engine
  readonly #clock: KitClock
  readonly #byPath: ReadonlyMap<string, RegisteredTask>
  readonly #tasks = new Map<string, WaitingTask>()
  /** Tasks with a handler here and without a running attempt, by the full name of their queue. */
  readonly #due = new Map<string, DueHeap<WaitingTask>>()
  readonly #ends = new Map<string, Array<(report: AttemptReport | undefined) => void>>()
  readonly #stopObserving: () => void
  #added = 0

  /** @param byPath definitions by the URL path of their routes */
  constructor (local: LocalTransport, clock: KitClock, byPath: ReadonlyMap<string, RegisteredTask>) {
    this.#clock = clock
    const engine = this.#engine = local.engine
    this.#byPath = byPath
    for (const { name } of engine.queues()) for (const task of allTasks(engine, name)) this.#add(task)
    this.#stopObserving = engine.observe({
      added: task => { this.#add(task) },
      started: ({ task }) => { this.#started(task) },
      attempted: report => { this.#ended(report.attempt.task.name, report.retryAt, report) },
      undelivered: ({ task }) => { this.#ended(task.name, task.scheduleAt, undefined) },
      ended: name => { this.#remove(name) },
      emptied: queue => {
        for (const name of this.#tasks.keys()) if (queueNameOf(name) === queue) this.#remove(name)
      }
    })
  }

  /** Tasks without a running attempt, in the order in which they were enqueued. */
  all (): WaitingTask[] {
    return [...this.#tasks.values()].filter(task => task.running === 0).sort((a, b) => a.order - b.order)
  }

  /** The task that is due first, now or later, among those with a handler here in queues that are not paused. */
  first (): WaitingTask | undefined {
    let first: WaitingTask | undefined
    for (const [queue, { first: candidate }] of this.#due) {
      if (candidate === undefined || this.#engine.findQueue(queue)?.state !== 'RUNNING') continue
      const sooner = first === undefined ? -1 : candidate.dueAt - first.dueAt || candidate.order - first.order
      if (sooner < 0) first = candidate
    }
    return first
  }

  /** The name of a task with a running attempt; undefined when there is none. */
  get running (): string | undefined {
    for (const { name, running } of this.#tasks.values()) if (running > 0) return name
    return undefined
  }

  /** Resolves with the report of the next attempt of a task; undefined if it is not delivered, because the server closes. */
  attemptOf (name: string): Promise<AttemptReport | undefined> {
    return new Promise(resolve => {
      const ends = this.#ends.get(name)
      if (ends === undefined) this.#ends.set(name, [resolve])
      else ends.push(resolve)
    })
  }

  /** Drops a task that the engine does not have any more. */
  forget (name: string): void {
    this.#ends.delete(name)
    this.#remove(name)
  }

  /** From then on there are no tasks, and whoever waits for an attempt goes on. */
  close (): void {
    this.#stopObserving()
    this.#tasks.clear()
    this.#due.clear()
    const ends = [...this.#ends.values()].flat()
    this.#ends.clear()
    for (const end of ends) end(undefined)
  }

  #add (task: Task): void {
    const waiting = new WaitingTask(task, this.#byPath.get(pathOf(task)), this.#added++)
    this.#tasks.set(task.name, waiting)
    waiting.running = this.#engine.running(task.name)
    if (waiting.running > 0) return
    // An app that schedules for `new Date()` means now, although the kit's clock may stand still since a moment before.
    const isDue = this.#clock.hasPassed(task.scheduleAt)
    this.#schedule(waiting, isDue ? Math.min(task.scheduleAt, this.#clock.now()) : task.scheduleAt)
  }

  #schedule (task: WaitingTask, dueAt: number): void {
    if (task.definition?.handler === undefined) {
      task.dueAt = dueAt
      return
    }
    const queue = queueNameOf(task.name)
    let due = this.#due.get(queue)
    if (due === undefined) this.#due.set(queue, due = new DueHeap())
    due.schedule(task, dueAt)
  }

  #started ({ name, dispatchCount }: Task): void {
    const task = this.#tasks.get(name)
    if (task === undefined) return
    this.#due.get(queueNameOf(name))?.remove(task)
    task.running++
    task.attempts = dispatchCount
  }

  #ended (name: string, dueAt: number | undefined, report: AttemptReport | undefined): void {
    const task = this.#tasks.get(name)
    if (task !== undefined) {
      task.running--
      if (dueAt !== undefined) this.#schedule(task, dueAt)
      // Its end is reported after it is stored.
      else if (task.running === 0) this.#remove(name)
    }
    const ends = this.#ends.get(name) ?? []
    this.#ends.delete(name)
    for (const end of ends) end(report)
  }

  #remove (name: string): void {
    const task = this.#tasks.get(name)
    if (task === undefined) return
    this.#tasks.delete(name)
    this.#due.get(queueNameOf(name))?.remove(task)
  }
}

/** Orders tasks by due time. */
function allTasks (engine: Engine, queue: string): Task[] {
  const tasks: Task[] = []
  let pageToken: string | undefined
  do {
    const page = engine.listTasks(queue, pageToken === undefined ? {} : { pageToken })
    tasks.push(...page.tasks)
    pageToken = page.nextPageToken
  } while (pageToken !== undefined)
  return tasks.sort((a, b) => a.scheduleAt - b.scheduleAt)
}
