import type { Clock } from '../clock/clock.js'
import { CloudTasksError, statusErrors } from '../cloud-tasks/status.js'
import type { Task } from '../cloud-tasks/task.js'
import type { Engine, StoredQueue } from '../engine/engine.js'
import { FST_TASKS_LOCAL_ONLY } from '../errors.js'
import type { PluginHandle } from '../plugin-handle.js'
import type { Live as LiveMessage, Overview, QueueInfo, TaskDetail, TaskInfo, TaskPage, TaskRow } from './api/api.js'
import { History } from './history/history.js'
import { Live } from './live.js'
import { teeLog } from './history/log-tee.js'
import { TaskPages, type TaskQuery } from './task-pages.js'
import { bodyOf, ownHeaders, payloadOf, queueNameOf, shortId } from './api/task-view.js'
import { Timeline } from './history/timeline.js'

/** What a console shows: an engine, an app with a registry, or both. */
export interface Subject {
  readonly title: string
  readonly engine: Engine | undefined
  readonly app: PluginHandle | undefined
  readonly clock: Clock
  /** Tasks that have ended and stay visible. */
  readonly history: number
}

/** A console's eyes and hands, without HTTP. Watches from when it is made until `close`. */
export class TaskConsole {
  readonly live: Live
  readonly #subject: Subject
  readonly #timeline: Timeline
  readonly #history: History
  readonly #pages: TaskPages | undefined
  /** Changed since the last message; with the task where no record may have it. */
  readonly #changed = new Map<string, Task | undefined>()
  /** Names of tasks in the registry, by the URLs of their routes. */
  readonly #names = new Map<string, string>()
  readonly #stops: Array<() => void> = []

  constructor (subject: Subject) {
    this.#subject = subject
    const { engine, app, clock, history } = subject
    this.#timeline = new Timeline(clock.now(), () => this.#waiting())
    this.live = new Live(clock, () => this.#message())
    this.#history = new History({
      history,
      clock,
      timeline: this.#timeline,
      onChange: (name, task) => { this.#change(name, task) },
      onQueue: () => { this.live.change() }
    })
    for (const { path, name } of app?.app.tasks.list() ?? []) this.#names.set(path, name)
    if (engine === undefined) return
    this.#history.complete = engine.queues().every(({ name }) => engine.counts(name).waiting === 0)
    this.#pages = new TaskPages(engine, this.#history)
    this.#stops.push(engine.observe(this.#history))
    if (app?.local !== undefined) this.#stops.push(this.#watchAttempts(app, app.local.queueName.bind(app.local)))
  }

  /** @param token that every write must carry */
  overview (token: string): Overview {
    const { title, engine, clock } = this.#subject
    const now = clock.now()
    return {
      title,
      now,
      token,
      tasks: this.#tasks(),
      queues: engine?.queues().map(queue => this.#queueInfo(engine, queue)) ?? null,
      timeline: engine === undefined ? [] : this.#timeline.buckets(now)
    }
  }

  tasks (query: TaskQuery): TaskPage {
    const page = this.#paged().page(query)
    return { ...page, tasks: page.tasks.map(row => this.#named(row)) }
  }

  /** @throws CloudTasksError when there is no such task any more */
  task (name: string): TaskDetail {
    const task = this.#pendingTask(name)
    const record = task === undefined ? this.#history.ofPast(name) : this.#history.pending(name)
    if (task !== undefined) {
      return {
        ...this.#named(this.#paged().row(task)),
        headers: ownHeaders(task),
        payload: payloadOf(bodyOf(task), ownHeaders(task)),
        ...(record?.attemptList(task) ?? { attemptList: [], omitted: task.dispatchCount })
      }
    }
    if (record === undefined) throw statusErrors.notFound()
    return { ...this.#named(record.row()), headers: record.headers(), payload: record.payload(), ...record.attemptList() }
  }

  /** The whole body. Undefined when it is no longer kept. */
  payload (name: string): Uint8Array | undefined {
    const task = this.#known(name)
    return task === undefined ? undefined : bodyOf(task) ?? new Uint8Array()
  }

  async runTask (name: string): Promise<TaskRow> {
    return this.#named(this.#paged().row(await this.#engine().runTask(name)))
  }

  async deleteTask (name: string): Promise<void> {
    const engine = this.#engine()
    this.#history.remember(engine.getTask(name))
    await engine.deleteTask(name)
  }

  /** Adds a task with the same request. Undefined when it is no longer kept. */
  async copyTask (name: string): Promise<TaskRow | undefined> {
    const task = this.#known(name)
    if (task === undefined) return undefined
    const { httpRequest, appEngineHttpRequest, dispatchDeadlineMs } = task
    const copy = await this.#engine().createTask(queueNameOf(name), {
      ...(httpRequest === undefined ? undefined : { httpRequest }),
      ...(appEngineHttpRequest === undefined ? undefined : { appEngineHttpRequest }),
      ...(dispatchDeadlineMs === undefined ? undefined : { dispatchDeadlineMs })
    })
    return this.#named(this.#paged().row(copy))
  }

  async changeQueue (name: string, change: 'pause' | 'resume' | 'purge'): Promise<QueueInfo> {
    const engine = this.#engine()
    const queue = await { pause: () => engine.pauseQueue(name), resume: () => engine.resumeQueue(name), purge: () => engine.purgeQueue(name) }[change]()
    return this.#queueInfo(engine, queue)
  }

  close (): void {
    this.live.close()
    for (const stop of this.#stops) stop()
  }

  #watchAttempts ({ watchers }: PluginHandle, queueName: (id: string) => string): () => void {
    const nameOf = (queue: string, id: string): string => `${queueName(queue)}/tasks/${id}`
    return watchers.add({
      logOf: ({ queue, id, attempt }, log) => {
        const name = nameOf(queue, id)
        return teeLog(log, this.#subject.clock, line => { this.#history.line(name, attempt, line) })
      },
      settled: ({ queue, id, attempt }, result) => {
        if (result.result === 'done') return
        if (result.result === 'dropped') this.#history.dropped(nameOf(queue, id), attempt, result.reason)
        else this.#history.failed(nameOf(queue, id), attempt, result.error)
      }
    })
  }

  #change (name: string, task: Task | undefined): void {
    if (this.live.idle) return
    this.#changed.delete(name)
    this.#changed.set(name, task)
    if (this.#changed.size > MAX_CHANGED * 2) this.#trimChanged()
    this.live.change()
  }

  #trimChanged (): void {
    for (const name of this.#changed.keys()) {
      if (this.#changed.size <= MAX_CHANGED) return
      this.#changed.delete(name)
    }
  }

  #message (): LiveMessage {
    const { engine, clock } = this.#subject
    const now = clock.now()
    this.#trimChanged()
    const changed = [...this.#changed].flatMap(([name, task]) => {
      const row = this.#history.record(name)?.row() ?? (task === undefined ? undefined : this.#paged().row(task))
      return row === undefined ? [] : [this.#named(row)]
    })
    this.#changed.clear()
    const queues = engine?.queues().map(({ name, state }) => ({ name, id: shortId(name), state, ...engine.counts(name) })) ?? null
    return { now, queues, timeline: engine === undefined ? [] : this.#timeline.buckets(now, LIVE_SECONDS), changed }
  }

  #waiting (): number {
    const { engine } = this.#subject
    return engine?.queues().reduce((sum, { name }) => sum + engine.counts(name).waiting, 0) ?? 0
  }

  #tasks (): TaskInfo[] | null {
    return this.#subject.app?.app.tasks.list().map(task => ({ ...task, example: undefined })) ?? null
  }

  #queueInfo (engine: Engine, { name, state, settings }: StoredQueue): QueueInfo {
    return { name, id: shortId(name), state, ...engine.counts(name), ...settings }
  }

  #pendingTask (name: string): Task | undefined {
    try {
      return this.#engine().getTask(name)
    } catch (error) {
      if (error instanceof CloudTasksError && this.#history.ofPast(name) !== undefined) return undefined
      throw error
    }
  }

  /** A task with all it has: one that has not ended, or one that has and whose payload is still kept. */
  #known (name: string): Task | undefined {
    return this.#pendingTask(name) ?? this.#history.ofPast(name)?.task
  }

  #engine (): Engine {
    const { engine } = this.#subject
    if (engine === undefined) throw new FST_TASKS_LOCAL_ONLY('pending')
    return engine
  }

  #paged (): TaskPages {
    if (this.#pages === undefined) throw new FST_TASKS_LOCAL_ONLY('pending')
    return this.#pages
  }

  /** With the name that the registry has for it; of an app's own queue, with the path instead of an invented origin. */
  #named (row: TaskRow): TaskRow {
    if (this.#subject.app === undefined) return row
    const url = row.url.startsWith(LOCAL_ORIGIN) ? row.url.slice(LOCAL_ORIGIN.length) : row.url
    const task = this.#names.get(url)
    return { ...row, url, ...(task === undefined ? undefined : { task }) }
  }
}

const MAX_CHANGED = 50
const LIVE_SECONDS = 5
const LOCAL_ORIGIN = 'http://localhost'
