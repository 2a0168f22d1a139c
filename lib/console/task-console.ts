import type { Clock } from '../clock/clock.js'
import { CloudTasksError, statusErrors } from '../cloud-tasks/status.js'
import type { Task } from '../cloud-tasks/task.js'
import { contentOf, headersOf, withHeaders } from '../copies/source.js'
import { ORIGIN_HEADER } from '../delivery/headers.js'
import type { Engine, StoredQueue } from '../engine/engine.js'
import type { PluginHandle } from '../plugin-handle.js'
import type { LiveMessage, Overview, QueueInfo, TaskDetail, TaskPage, TaskRow, TraceInfo } from './api/api.js'
import { requestError } from './api/request-error.js'
import { bodyOf, queueNameOf, shortId, type SeenTask } from './api/task-view.js'
import { queueNamer, servedFeed, workerFeed } from './history/attempt-feed.js'
import { History } from './history/history.js'
import { Timeline } from './history/timeline.js'
import { LiveStream } from './live-stream.js'
import { RowPages, type RowQuery } from './history/row-pages.js'

/** The subject of a console: an engine, an app with a registry, or both. */
export interface Subject {
  readonly title: string
  /** Undefined where the queues are in Google Cloud. */
  readonly engine: Engine | undefined
  readonly app: PluginHandle | undefined
  readonly clock: Clock
  /** Number of ended tasks that stay visible. */
  readonly history: number
  /** Where a trace is shown; `{traceId}` in it stands for its id. */
  readonly traceUrl: string | undefined
}

/** The methods of the console's API, without HTTP. Observes attempts from its creation until `close`. */
export class TaskConsole {
  readonly live: LiveStream
  readonly #subject: Subject
  readonly #timeline: Timeline
  readonly #history: History
  readonly #pages: RowPages
  /** Tasks that changed since the last message, by name; undefined where there is a record. */
  readonly #changed = new Map<string, Task | undefined>()
  /** Names of tasks in the registry, by route path. */
  readonly #names: ReadonlyMap<string, string>
  readonly #stops: Array<() => void> = []

  constructor (subject: Subject) {
    this.#subject = subject
    const { engine, app, clock, history } = subject
    this.#timeline = new Timeline(clock.now(), () => this.#waiting())
    this.live = new LiveStream(clock, () => this.#message())
    this.#history = new History({
      history,
      clock,
      timeline: this.#timeline,
      isOnlyCopy: engine === undefined,
      onChange: (name, task) => { this.#change(name, task) },
      onQueue: () => { this.live.change() }
    })
    this.#pages = new RowPages(engine, this.#history)
    this.#names = new Map(app?.app.tasks.list().map(({ path, name }) => [path, name]))
    if (engine !== undefined) {
      this.#history.complete = engine.queues().every(({ name }) => engine.counts(name).waiting === 0)
      this.#stops.push(engine.observe(this.#history))
    }
    if (app !== undefined) {
      const parts = { history: this.#history, clock, queueName: queueNamer(app) }
      this.#stops.push(app.watchers.add(engine === undefined ? servedFeed(parts) : workerFeed(parts)))
    }
  }

  /** @param token required for every write */
  overview (token: string): Overview {
    const { title, engine, app, clock, history } = this.#subject
    const now = clock.now()
    return {
      title,
      now,
      token,
      history,
      tasks: app?.app.tasks.list() ?? null,
      queues: engine?.queues().map(queue => queueInfo(engine, queue)) ?? null,
      timeline: this.#timeline.buckets(now),
      deadLetters: app?.config.deadLetterQueue ?? null
    }
  }

  tasks (query: RowQuery): TaskPage {
    const page = this.#pages.page(query)
    return { ...page, tasks: page.tasks.map(row => this.#named(row)) }
  }

  /** @throws CloudTasksError when the task does not exist any more */
  task (name: string): TaskDetail {
    const pending = this.#pendingTask(name)
    const record = pending === undefined ? this.#history.record(name) : this.#history.recordOf(pending)
    if (record === undefined) throw statusErrors.notFound()
    const detail = record.detail(pending)
    const attemptList = detail.attemptList.map(attempt => this.#linked(attempt))
    return this.#linked({ ...this.#named(record.row(pending)), ...detail, attemptList })
  }

  /** The whole body. Undefined when it is no longer kept. */
  payload (name: string): Uint8Array | undefined {
    const task = this.#knownTask(name)
    return task === undefined ? undefined : bodyOf(task) ?? new Uint8Array()
  }

  async runTask (name: string): Promise<TaskRow> {
    return this.#named(this.#history.row(await this.#engine('run a task of it', 'gcloud tasks run').runTask(name)))
  }

  async deleteTask (name: string): Promise<void> {
    const engine = this.#engine('delete a task of it', 'gcloud tasks delete')
    this.#history.remember(engine.getTask(name))
    await engine.deleteTask(name)
  }

  /** Adds a task with the same request, deadline and retry settings. Undefined when it is no longer kept. */
  async copyTask (name: string): Promise<TaskRow | undefined> {
    const engine = this.#engine('copy a task of it', 'gcloud tasks create-http-task')
    const task = this.#knownTask(name)
    if (task === undefined) return undefined
    const content = contentOf(task)
    const origin = headersOf(task)[ORIGIN_HEADER]
    const copy = await engine.createTask(
      queueNameOf(name), origin === undefined ? content : withHeaders(content, { [ORIGIN_HEADER]: origin })
    )
    return this.#named(this.#history.row(copy))
  }

  async changeQueue (name: string, change: 'pause' | 'resume' | 'purge'): Promise<QueueInfo> {
    const engine = this.#engine(`${change} it`, `gcloud tasks queues ${change}`)
    const queue = await {
      pause: () => engine.pauseQueue(name),
      resume: () => engine.resumeQueue(name),
      purge: () => engine.purgeQueue(name)
    }[change]()
    return queueInfo(engine, queue)
  }

  close (): void {
    this.live.close()
    for (const stop of this.#stops) stop()
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
      const row = this.#history.record(name)?.row() ?? (task === undefined ? undefined : this.#history.row(task))
      return row === undefined ? [] : [this.#named(row)]
    })
    this.#changed.clear()
    const queues = engine?.queues().map(({ name, state }) => ({ name, id: shortId(name), state, ...engine.counts(name) })) ?? null
    return { now, queues, timeline: this.#timeline.buckets(now, LIVE_SECONDS), changed }
  }

  #waiting (): number {
    const { engine } = this.#subject
    return engine?.queues().reduce((sum, { name }) => sum + engine.counts(name).waiting, 0) ?? 0
  }

  #pendingTask (name: string): Task | undefined {
    try {
      return this.#subject.engine?.getTask(name)
    } catch (error) {
      if (error instanceof CloudTasksError && this.#history.past.get(name) !== undefined) return undefined
      throw error
    }
  }

  /** A task with its request, if it is still kept. */
  #knownTask (name: string): SeenTask | undefined {
    return this.#pendingTask(name) ?? this.#history.record(name)?.task
  }

  #engine (what: string, command: string): Engine {
    const { engine } = this.#subject
    if (engine === undefined) throw requestError(`the queue is in Google Cloud; ${what} with '${command}' or in Google's console`, 501)
    return engine
  }

  /** Adds the link to the trace. */
  #linked<T extends { readonly trace?: TraceInfo }> (shown: T): T {
    const { traceUrl } = this.#subject
    if (traceUrl === undefined || shown.trace === undefined) return shown
    const { id } = shown.trace
    return { ...shown, trace: { id, url: traceUrl.replaceAll('{traceId}', id) } }
  }

  /** Adds the name in the registry, and removes the placeholder origin of the embedded queue's URLs. */
  #named (row: TaskRow): TaskRow {
    if (this.#subject.app === undefined) return row
    const url = row.url.startsWith(LOCAL_ORIGIN) ? row.url.slice(LOCAL_ORIGIN.length) : row.url
    const task = this.#names.get(url)
    return { ...row, url, ...(task === undefined ? undefined : { task }) }
  }
}

function queueInfo (engine: Engine, { name, state, settings }: StoredQueue): QueueInfo {
  return { name, id: shortId(name), state, ...engine.counts(name), ...settings }
}

const MAX_CHANGED = 50
const LIVE_SECONDS = 5
const LOCAL_ORIGIN = 'http://localhost'
