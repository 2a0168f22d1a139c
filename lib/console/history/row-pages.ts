import type { Engine } from '../../engine/engine.js'
import { FST_TASKS_CONSOLE_REQUEST, FST_TASKS_INVALID_PAGE } from '../../errors.js'
import type { TaskRow, TaskState } from '../api/api.js'
import type { History } from './history.js'
import type { TaskRecord } from './task-record.js'

/** `pending`: all tasks that have not ended; `ended`: all that have. */
export type StateFilter = TaskState | 'pending' | 'ended'

export const STATE_FILTERS: readonly StateFilter[] = [
  'pending', 'waiting', 'retrying', 'running', 'ended', 'done', 'dropped', 'postponed', 'failed', 'deleted', 'expired'
]

export interface RowQuery {
  /** Full name; undefined: all queues. */
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
 * Pages of tasks by state. Recently run tasks come from the history, waiting ones from the engine. Each page examines a limited number
 * of tasks in the engine, so it can be short, or even empty, and still have a next one.
 */
export class RowPages {
  readonly #engine: Engine | undefined
  readonly #history: History

  /** @param engine undefined where the queues are in Google Cloud: then only tasks served by this process are known */
  constructor (engine: Engine | undefined, history: History) {
    this.#engine = engine
    this.#history = history
  }

  /** @throws FST_TASKS_INVALID_PAGE, FST_TASKS_CONSOLE_REQUEST, and the engine's errors */
  page (query: RowQuery): RowPage {
    const token = parseToken(query.pageToken)
    const { running, retrying, past } = this.#history
    const engine = this.#engine
    switch (query.state) {
      case 'running': return recordPage(query, token, running.values())
      case 'pending':
        if (engine === undefined) return recordPage(query, token, [...retrying.values(), ...running.values()].sort(byPlace))
        return this.#enginePage(engine, query, token, () => true)
      case 'waiting':
        if (engine === undefined) throw new FST_TASKS_CONSOLE_REQUEST("only Cloud Tasks knows the waiting tasks: use 'gcloud tasks list'")
        return this.#enginePage(engine, query, token, row => row.state === 'waiting')
      case 'retrying':
        return engine === undefined ? recordPage(query, token, retrying.values()) : this.#retryingPage(engine, query, token)
      default: return recordPage(query, token, past.values())
    }
  }

  /** The records of the history first; then, if it is incomplete, further tasks of the engine. */
  #retryingPage (engine: Engine, query: RowQuery, token: Token): RowPage {
    const isUnrecorded = (row: TaskRow): boolean => row.state === 'retrying' && this.#history.pending(row.name) === undefined
    if (token.queue !== undefined) return this.#enginePage(engine, query, token, isUnrecorded)
    const page = recordPage(query, token, this.#history.retrying.values())
    const first = query.queue ?? queueNames(engine)[0]
    return page.nextPageToken !== undefined || this.#history.complete || first === undefined
      ? page
      : { ...page, nextPageToken: printToken({ queue: first }) }
  }

  #enginePage (engine: Engine, query: RowQuery, token: Token, isWanted: (row: TaskRow) => boolean): RowPage {
    const queues = query.queue === undefined ? queueNames(engine) : [query.queue]
    const tasks: TaskRow[] = []
    let left = MAX_EXAMINED
    // If the queue was deleted between two pages, continues with the next name.
    let index = token.queue === undefined ? 0 : queues.findIndex(queue => queue >= token.queue!)
    if (index === -1) return { tasks }
    let engineToken = token.page
    while (index < queues.length) {
      const pageSize = Math.min(query.limit - tasks.length, left)
      const page = engine.listTasks(queues[index]!, { pageSize, ...(engineToken === undefined ? undefined : { pageToken: engineToken }) })
      left -= pageSize
      tasks.push(...page.tasks.map(task => this.#history.row(task)).filter(isWanted))
      engineToken = page.nextPageToken
      if (engineToken === undefined) index++
      if (tasks.length === query.limit || left <= 0) break
    }
    return index < queues.length ? { tasks, nextPageToken: printToken({ queue: queues[index]!, page: engineToken }) } : { tasks }
  }
}

/** A page of records, latest first. @param records oldest first */
function recordPage ({ queue, state, limit }: RowQuery, token: Token, records: Iterable<TaskRecord>): RowPage {
  const isWanted = (record: TaskRecord): boolean =>
    (token.before === undefined || record.place < token.before) &&
    (queue === undefined || record.queue === queue) &&
    (state === 'pending' || state === 'ended' || record.state === state)
  const wanted = [...records].filter(isWanted).reverse()
  const page = wanted.slice(0, limit)
  const tasks = page.map(record => record.row())
  return wanted.length > limit ? { tasks, nextPageToken: printToken({ before: page.at(-1)!.place }) } : { tasks }
}

function byPlace (a: TaskRecord, b: TaskRecord): number {
  return a.place - b.place
}

function queueNames (engine: Engine): string[] {
  return engine.queues().map(queue => queue.name).sort()
}

/** The start of the next page: a record, or a position in a queue. */
interface Token {
  /** Only records with a lower `place`. */
  readonly before?: number
  readonly queue?: string
  readonly page?: string | undefined
}

function printToken (token: Token): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url')
}

function parseToken (text: string | undefined): Token {
  if (text === undefined) return {}
  try {
    const { before, queue, page } = JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>
    return {
      ...(typeof before === 'number' ? { before } : undefined),
      ...(typeof queue === 'string' ? { queue } : undefined),
      ...(typeof page === 'string' ? { page } : undefined)
    }
  } catch (error) {
    throw new FST_TASKS_INVALID_PAGE('invalid page token')
  }
}

/** Maximum number of tasks in the engine to examine for a page. */
const MAX_EXAMINED = 1000
