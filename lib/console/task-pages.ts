import type { Task } from '../cloud-tasks/task.js'
import type { Engine } from '../engine/engine.js'
import { FST_TASKS_INVALID_PAGE } from '../errors.js'
import type { TaskRow, TaskState } from './api/api.js'
import type { History } from './history/history.js'
import type { TaskRecord } from './history/task-record.js'
import { lastResultOf, methodOf, queueNameOf, shortId, urlOf } from './api/task-view.js'

/** `pending`: all that have not ended; `ended`: all that have. */
export type StateFilter = TaskState | 'pending' | 'ended'

export const STATE_FILTERS: readonly StateFilter[] = [
  'pending', 'waiting', 'retrying', 'running', 'ended', 'done', 'dropped', 'failed', 'deleted', 'expired'
]

export interface TaskQuery {
  /** Full name. */
  readonly queue: string | undefined
  readonly state: StateFilter
  readonly pageToken: string | undefined
  readonly limit: number
}

export interface RowPage {
  readonly tasks: TaskRow[]
  readonly nextPageToken?: string
}

/**
 * Pages of tasks by state. What ran of late comes from the history; what waits comes from the engine, a bounded number of
 * tasks looked at for each page, so that a page may be short, or even empty, and have a next one.
 */
export class TaskPages {
  readonly #engine: Engine
  readonly #history: History

  constructor (engine: Engine, history: History) {
    this.#engine = engine
    this.#history = history
  }

  /** @throws FST_TASKS_INVALID_PAGE, and the engine's errors */
  page (query: TaskQuery): RowPage {
    const token = parseToken(query.pageToken)
    switch (query.state) {
      case 'pending': return this.#walk(query, token, () => true)
      case 'waiting': return this.#walk(query, token, row => row.state === 'waiting')
      case 'running': return this.#recorded(query, token, this.#history.running.reversed())
      case 'retrying': return this.#retrying(query, token)
      default: return this.#recorded(query, token, this.#history.past.reversed())
    }
  }

  /** A task that has not ended, as a row. */
  row (task: Task): TaskRow {
    const record = this.#history.pending(task.name)
    const lastResult = record?.lastResult ?? lastResultOf(task)
    return {
      name: task.name,
      id: shortId(task.name),
      queue: queueNameOf(task.name),
      method: methodOf(task),
      url: urlOf(task),
      state: record !== undefined && record.running > 0 ? 'running' : task.dispatchCount > 0 ? 'retrying' : 'waiting',
      attempts: task.dispatchCount,
      createdAt: task.createdAt,
      scheduleAt: task.scheduleAt,
      ...(lastResult === undefined ? undefined : { lastResult })
    }
  }

  /** First those of the history; then, where it does not have all, those that the engine has besides. */
  #retrying (query: TaskQuery, token: Token): RowPage {
    const more = (row: TaskRow): boolean => row.state === 'retrying' && this.#history.pending(row.name) === undefined
    if (token.queue !== undefined) return this.#walk(query, token, more)
    const page = this.#recorded(query, token, this.#history.retrying.reversed())
    const first = query.queue ?? this.#queues()[0]
    return page.nextPageToken !== undefined || this.#history.complete || first === undefined ? page : { ...page, nextPageToken: printToken({ queue: first }) }
  }

  #recorded ({ queue, state, limit }: TaskQuery, token: Token, records: Iterable<TaskRecord>): RowPage {
    const tasks: TaskRow[] = []
    let last: TaskRecord | undefined
    for (const record of records) {
      if (token.after !== undefined && record.place >= token.after) continue
      if (queue !== undefined && record.queue !== queue) continue
      if (isEnded(state) && state !== 'ended' && record.state !== state) continue
      if (tasks.length === limit) return { tasks, nextPageToken: printToken({ after: last!.place }) }
      tasks.push(record.row())
      last = record
    }
    return { tasks }
  }

  #walk (query: TaskQuery, token: Token, wanted: (row: TaskRow) => boolean): RowPage {
    const queues = query.queue === undefined ? this.#queues() : [query.queue]
    const tasks: TaskRow[] = []
    let looks = MAX_LOOKS
    let index = token.queue === undefined ? 0 : queues.indexOf(token.queue)
    // A queue that was deleted between two pages: its place is where its name would be.
    if (index === -1) index = queues.findIndex(queue => queue > token.queue!)
    if (index === -1) return { tasks }
    let engineToken = token.page
    while (index < queues.length) {
      const queue = queues[index]!
      const pageSize = Math.min(query.limit - tasks.length, looks)
      const page = this.#engine.listTasks(queue, { pageSize, ...(engineToken === undefined ? undefined : { pageToken: engineToken }) })
      looks -= pageSize
      for (const task of page.tasks) {
        const row = this.row(task)
        if (wanted(row)) tasks.push(row)
      }
      engineToken = page.nextPageToken
      if (engineToken === undefined) index++
      if (tasks.length === query.limit || looks <= 0) break
    }
    return index < queues.length ? { tasks, nextPageToken: printToken({ queue: queues[index]!, page: engineToken }) } : { tasks }
  }

  #queues (): string[] {
    return this.#engine.queues().map(queue => queue.name).sort()
  }
}

/** Where the next page begins: behind a record, or at a place in a queue. */
interface Token {
  readonly after?: number
  readonly queue?: string
  readonly page?: string | undefined
}

function isEnded (state: StateFilter): boolean {
  return !['pending', 'waiting', 'retrying', 'running'].includes(state)
}

function printToken (token: Token): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url')
}

function parseToken (text: string | undefined): Token {
  if (text === undefined) return {}
  try {
    const { after, queue, page } = JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>
    return {
      ...(typeof after === 'number' ? { after } : undefined),
      ...(typeof queue === 'string' ? { queue } : undefined),
      ...(typeof page === 'string' ? { page } : undefined)
    }
  } catch (error) {
    throw new FST_TASKS_INVALID_PAGE('the token is none of this console')
  }
}

/** Tasks that are looked at for a page. */
const MAX_LOOKS = 1000
