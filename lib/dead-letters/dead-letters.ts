import { isPlainObject } from '../checks.js'
import { printOrigin, readOrigin, type Origin } from '../copies/facts.js'
import { copyId } from '../copies/names.js'
import { contentOf, headersOf, withHeaders } from '../copies/source.js'
import { ORIGIN_HEADER } from '../delivery/headers.js'
import { FST_TASKS_DEAD_LETTERS_FAILED, FST_TASKS_INVALID_LETTER_QUERY, FST_TASKS_NO_DEAD_LETTERS } from '../errors.js'
import { problemOf, type TaskRequest } from '../copies/copies.js'
import type { NewTask } from '../cloud-tasks/task.js'
import type { ListedTask, TaskContent, Transport } from '../transport/transport.js'

/** A task whose last attempt failed. What it says of itself is text that anybody who may create tasks in its queue could have written. */
export interface DeadLetter {
  /** Short id in the dead-letter queue. */
  readonly id: string
  /** Name in the registry; undefined when no task of it has this path any more. */
  readonly task: string | undefined
  /** URL path of its attempts. */
  readonly path: string
  /** Queue that the task was in; undefined, like all that follows, for what this package did not write. */
  readonly queue: string | undefined
  /** Id of the task that failed. */
  readonly taskId: string | undefined
  /** Id of the task that was enqueued: another one once it was postponed or replayed. */
  readonly originalId: string | undefined
  readonly attempts: number | undefined
  /** When the task ended. */
  readonly time: Date | undefined
  /** Of its last attempt. The message is cut. */
  readonly error: { readonly name: string, readonly code?: string, readonly message: string } | undefined
}

/** Which dead letters; all conditions hold. `{}` is all of them. */
export interface DeadLetterFilter<N extends string = string> {
  /** Name in the registry, also one that is no longer there. */
  readonly task?: N
  /** Tasks that ended before. */
  readonly before?: Date
  /** Tasks that ended then or later. */
  readonly after?: Date
  /** Code of the error, such as `FST_TASKS_DEADLINE_EXCEEDED`. */
  readonly code?: string
}

export interface DeadLetterQuery<N extends string = string> extends DeadLetterFilter<N> {
  /** Letters to look at for one page, 1 to 1000. With a filter a page may be short, or empty, and have a next one. @default 100 */
  readonly pageSize?: number
  readonly pageToken?: string
}

export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[]
  readonly nextPageToken: string | undefined
}

export interface DeadLetterResult {
  readonly id: string
  /** `notFound`: it was replayed, discarded or run meanwhile. */
  readonly outcome: 'replayed' | 'discarded' | 'notFound' | 'failed'
  /** Why it failed, and what to do. The letter is still there. */
  readonly problem?: string
}

export interface DeadLetterOptions {
  /** Called after each page of letters. */
  readonly onProgress?: (progress: { readonly looked: number, readonly done: number }) => void
}

export interface ReplayOptions<N extends string = string> extends DeadLetterOptions {
  /** The task to replay as, for letters of tasks that were renamed or removed. @default what it was */
  readonly as?: N
}

/** One id, several, or all that a filter fits. */
export type DeadLetterSelection<N extends string = string> = string | readonly string[] | DeadLetterFilter<N>

/** `app.tasks.deadLetters`: tasks that ended with a failure and wait in the queue of the option `deadLetterQueue`. */
export interface DeadLetters<N extends string = string> {
  /**
   * A page of them, in no particular order.
   * @throws FST_TASKS_NO_DEAD_LETTERS, FST_TASKS_INVALID_LETTER_QUERY, FST_TASKS_DEAD_LETTERS_FAILED
   */
  list (query?: DeadLetterQuery<N>): Promise<DeadLetterPage>
  /**
   * Enqueues them again, each as a new task in the queue that it was in, with attempts of its own. A letter is deleted once its task is
   * enqueued; one whose replay was interrupted in between is not enqueued again.
   * @throws as `list`
   */
  replay (which: DeadLetterSelection<N>, options?: ReplayOptions<N>): Promise<DeadLetterResult[]>
  /**
   * Deletes them for good.
   * @throws as `list`
   */
  discard (which: DeadLetterSelection<N>, options?: DeadLetterOptions): Promise<DeadLetterResult[]>
}

/** A task that letters can be replayed as. */
export interface ReplayTarget {
  readonly name: string
  readonly method: TaskRequest['method']
  /** URL path of its route. */
  readonly route: string
  readonly queue: string
}

export interface DeadLettersOptions {
  readonly queue: string | undefined
  readonly transport: Transport
  readonly targets: readonly ReplayTarget[]
  readonly newTask: (route: string, request: TaskRequest) => NewTask
}

export function createDeadLetters ({ queue: given, transport, targets, newTask }: DeadLettersOptions): DeadLetters {
  const byRoute = new Map(targets.map(target => [target.route, target]))
  const byName = new Map(targets.map(target => [target.name, target]))

  const queue = (): string => {
    if (given === undefined) throw new FST_TASKS_NO_DEAD_LETTERS()
    return given
  }

  const page = async (query: DeadLetterQuery): Promise<DeadLetterPage & { readonly looked: number }> => {
    const { pageSize = 100, pageToken } = query
    const listed = await transport.listTasks(queue(), pageSize, pageToken)
    if (listed.outcome !== 'listed') {
      throw new FST_TASKS_DEAD_LETTERS_FAILED(problemOf(listed), { cause: 'cause' in listed ? listed.cause : undefined })
    }
    const letters = listed.tasks.map(task => letterOf(task, byRoute)).filter(letter => fits(letter, query))
    return { letters, nextPageToken: listed.nextPageToken, looked: listed.tasks.length }
  }

  const each = async (
    which: DeadLetterSelection, options: DeadLetterOptions, act: (id: string) => Promise<DeadLetterResult>
  ): Promise<DeadLetterResult[]> => {
    queue()
    if (typeof which === 'string') return [await act(which)]
    const results: DeadLetterResult[] = []
    let looked = 0
    if (Array.isArray(which)) {
      if (!which.every(id => typeof id === 'string')) throw new FST_TASKS_INVALID_LETTER_QUERY('ids must be strings')
      for (let at = 0; at < which.length; at += AT_ONCE) {
        results.push(...await Promise.all(which.slice(at, at + AT_ONCE).map(act)))
        options.onProgress?.({ looked: results.length, done: results.length })
      }
      return results
    }
    checkFilter(which)
    for (let pageToken: string | undefined; ;) {
      const next = pageToken === undefined ? undefined : { pageToken }
      const { letters, nextPageToken, looked: more } = await page({ ...which, pageSize: 1000, ...next })
      looked += more
      for (let at = 0; at < letters.length; at += AT_ONCE) {
        results.push(...await Promise.all(letters.slice(at, at + AT_ONCE).map(({ id }) => act(id))))
      }
      options.onProgress?.({ looked, done: results.length })
      if (nextPageToken === undefined) return results
      pageToken = nextPageToken
    }
  }

  const remove = async (id: string, outcome: 'replayed' | 'discarded'): Promise<DeadLetterResult> => {
    const deleted = await transport.deleteTask(queue(), id)
    if (deleted.outcome === 'deleted') return { id, outcome }
    // A replay is done even where somebody else has deleted its letter.
    if (deleted.outcome === 'notFound') return { id, outcome: outcome === 'replayed' ? outcome : 'notFound' }
    return { id, outcome: 'failed', problem: problemOf(deleted) }
  }

  const replayOne = async (id: string, as: ReplayTarget | undefined): Promise<DeadLetterResult> => {
    const reading = await transport.readTask(queue(), id)
    if (reading.outcome === 'gone' || reading.outcome === 'notFound') return { id, outcome: 'notFound' }
    if (reading.outcome === 'denied') return { id, outcome: 'failed', problem: reading.problem }
    if (reading.outcome !== 'read') return { id, outcome: 'failed', problem: problemOf(reading) }
    const origin = readOrigin(headersOf(reading.task))
    const target = as?.queue ?? origin?.letter?.queue
    if (target === undefined || target === given) {
      return { id, outcome: 'failed', problem: "it does not say which queue it was in; name the task to replay it as with 'as'" }
    }
    const root: Origin = { id: origin?.id ?? id, postponements: origin?.postponements ?? 0 }
    const content = as === undefined ? contentOf(reading.task) : renamed(contentOf(reading.task), as, newTask)
    const replay = withHeaders(content, { [ORIGIN_HEADER]: printOrigin(root) })
    const sent = await transport.putTask(target, copyId(['replay', id], root.id), replay)
    if (sent.outcome !== 'created' && sent.outcome !== 'duplicate') return { id, outcome: 'failed', problem: problemOf(sent) }
    return await remove(id, 'replayed')
  }

  return {
    async list (query = {}) {
      queue()
      checkFilter(query)
      const { letters, nextPageToken } = await page(query)
      return { letters, nextPageToken }
    },

    async replay (which, { as: name, ...options } = {}) {
      const as = name === undefined ? undefined : byName.get(name)
      if (name !== undefined && as === undefined) throw new FST_TASKS_INVALID_LETTER_QUERY(`'as': there is no task '${name}'`)
      return await each(which, options, async id => await replayOne(id, as))
    },

    async discard (which, options = {}) {
      return await each(which, options, async id => await remove(id, 'discarded'))
    }
  }
}

function letterOf (task: ListedTask, byRoute: ReadonlyMap<string, ReplayTarget>): DeadLetter {
  const path = pathOf(task)
  const origin = readOrigin(headersOf(task))
  const letter = origin?.letter
  return {
    id: task.id,
    task: byRoute.get(path)?.name ?? letter?.task,
    path,
    queue: letter?.queue,
    taskId: letter?.id ?? (letter === undefined ? undefined : origin?.id),
    originalId: origin?.id,
    attempts: letter?.attempts,
    time: letter === undefined ? undefined : new Date(letter.at),
    error: letter?.error
  }
}

function pathOf ({ httpRequest, appEngineHttpRequest }: TaskContent): string {
  const url = httpRequest?.url ?? appEngineHttpRequest?.relativeUri ?? '/'
  return URL.canParse(url, 'http://localhost') ? new URL(url, 'http://localhost').pathname : url
}

function renamed (
  { httpRequest, appEngineHttpRequest }: TaskContent, as: ReplayTarget, newTask: DeadLettersOptions['newTask']
): TaskContent {
  const { headers = {}, body = Buffer.alloc(0) } = httpRequest ?? appEngineHttpRequest ?? {}
  return newTask(as.route, { method: as.method, headers, body: Buffer.from(body) })
}

function fits ({ task, time, error }: DeadLetter, filter: DeadLetterFilter): boolean {
  if (filter.task !== undefined && filter.task !== task) return false
  if (filter.code !== undefined && filter.code !== error?.code) return false
  if (filter.before !== undefined && !(time !== undefined && time < filter.before)) return false
  return filter.after === undefined || (time !== undefined && time >= filter.after)
}

const CHECKS: Readonly<Record<string, (value: unknown) => boolean>> = {
  task: value => typeof value === 'string',
  code: value => typeof value === 'string',
  before: isDate,
  after: isDate,
  pageSize: value => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1000,
  pageToken: value => typeof value === 'string'
}

const EXPECTED: Readonly<Record<string, string>> = {
  task: 'a string',
  code: 'a string',
  before: 'a valid Date',
  after: 'a valid Date',
  pageSize: 'an integer from 1 to 1000',
  pageToken: 'a string'
}

/** A condition that is misspelt or undefined would select all. */
function checkFilter (filter: unknown): void {
  if (!isPlainObject(filter)) {
    throw new FST_TASKS_INVALID_LETTER_QUERY('give an id, a list of ids, or a filter such as { task }; {} is all of them')
  }
  for (const [key, value] of Object.entries(filter)) {
    if (!Object.hasOwn(CHECKS, key)) {
      throw new FST_TASKS_INVALID_LETTER_QUERY(`'${key}' is not known here; known are ${Object.keys(CHECKS).join(', ')}`)
    }
    // `list({ pageToken: page.nextPageToken })` is how one reads on.
    if (value === undefined && key.startsWith('page')) continue
    if (!CHECKS[key]!(value)) throw new FST_TASKS_INVALID_LETTER_QUERY(`'${key}' must be ${EXPECTED[key]!}; leave it out for all`)
  }
}

function isDate (value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime())
}

/** Letters that are read, enqueued and deleted at the same time. */
const AT_ONCE = 16
