import type { NewTask } from '../cloud-tasks/task.js'
import { problemOf, type TaskRequest } from '../copies/copies.js'
import { printOrigin, readOrigin, type Origin } from '../copies/facts.js'
import { copyId } from '../copies/names.js'
import { contentOf, headersOf, withHeaders } from '../copies/source.js'
import { ORIGIN_HEADER } from '../delivery/headers.js'
import { FST_TASKS_DEAD_LETTERS_FAILED, FST_TASKS_INVALID_LETTER_QUERY, FST_TASKS_NO_DEAD_LETTERS } from '../errors.js'
import type { TaskContent, Transport } from '../transport/transport.js'
import { letterOf, type DeadLetter } from './letter.js'
import {
  checkDiscardOptions, checkFilter, checkReplayOptions, fits, readQuery,
  type DeadLetterFilter, type DeadLetterOptions, type DeadLetterQuery, type DeadLetterSelection, type ReplayOptions
} from './selection.js'

export type { DeadLetter, DeadLetterFilter, DeadLetterOptions, DeadLetterQuery, DeadLetterSelection, ReplayOptions }

export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[]
  readonly nextPageToken: string | undefined
}

export interface DeadLetterResult {
  readonly id: string
  /** `notFound`: it was replayed, discarded or run in the meantime. */
  readonly outcome: 'replayed' | 'discarded' | 'notFound' | 'failed'
  /** The problem and how to fix it. The letter is kept. */
  readonly problem?: string
}

/** `app.tasks.deadLetters`: failed tasks in the queue of the option `deadLetterQueue`. */
export interface DeadLetters<N extends string = string> {
  /**
   * A page of dead letters, in no particular order.
   * @throws FST_TASKS_NO_DEAD_LETTERS, FST_TASKS_INVALID_LETTER_QUERY, FST_TASKS_DEAD_LETTERS_FAILED
   */
  list (query?: DeadLetterQuery<N>): Promise<DeadLetterPage>
  /**
   * Enqueues dead letters again, each as a new task in its original queue, with new attempts. A letter is deleted after its task is
   * enqueued. Idempotent: a replay that was interrupted in between does not enqueue its task twice.
   * @throws as `list`
   */
  replay (which: DeadLetterSelection<N>, options?: ReplayOptions<N>): Promise<DeadLetterResult[]>
  /**
   * Deletes dead letters.
   * @throws as `list`
   */
  discard (which: DeadLetterSelection<N>, options?: DeadLetterOptions): Promise<DeadLetterResult[]>
}

/** A task as which letters can be replayed. */
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

interface LookedPage extends DeadLetterPage {
  /** Number of examined letters. */
  readonly looked: number
}

export function createDeadLetters ({ queue: given, transport, targets, newTask }: DeadLettersOptions): DeadLetters {
  const nameByRoute = new Map(targets.map(target => [target.route, target.name]))
  const nameOf = (path: string): string | undefined => nameByRoute.get(path)
  const byName = new Map(targets.map(target => [target.name, target]))

  const queue = (): string => {
    if (given === undefined) throw new FST_TASKS_NO_DEAD_LETTERS()
    return given
  }

  const page = async ({ pageSize = 1000, pageToken, ...filter }: DeadLetterQuery): Promise<LookedPage> => {
    const listed = await transport.listTasks(queue(), pageSize, pageToken)
    if (listed.outcome !== 'listed') {
      throw new FST_TASKS_DEAD_LETTERS_FAILED(problemOf(listed), { cause: 'cause' in listed ? listed.cause : undefined })
    }
    const letters = listed.tasks.map(task => letterOf(task, nameOf)).filter(letter => fits(letter, filter))
    return { letters, nextPageToken: listed.nextPageToken, looked: listed.tasks.length }
  }

  /** Lists all letters before the first is replayed: one that fails again at once leaves a new letter, which could be on a later page. */
  const idsOf = async (filter: DeadLetterFilter, onProgress: DeadLetterOptions['onProgress']) => {
    checkFilter(filter)
    const ids: string[] = []
    let looked = 0
    for (let pageToken: string | undefined; ;) {
      const { letters, nextPageToken, looked: more } = await page({ ...filter, ...(pageToken === undefined ? undefined : { pageToken }) })
      looked += more
      for (const { id } of letters) ids.push(id)
      onProgress?.({ looked, done: 0 })
      if (nextPageToken === undefined) return { ids, looked }
      pageToken = nextPageToken
    }
  }

  const each = async (
    which: DeadLetterSelection, { onProgress }: DeadLetterOptions, act: (id: string) => Promise<DeadLetterResult>
  ): Promise<DeadLetterResult[]> => {
    queue()
    if (typeof which === 'string') return [await act(which)]
    if (Array.isArray(which) && !which.every(id => typeof id === 'string')) throw new FST_TASKS_INVALID_LETTER_QUERY('ids must be strings')
    const { ids, looked } = Array.isArray(which)
      ? { ids: [...new Set<string>(which)], looked: undefined }
      : await idsOf(which as DeadLetterFilter, onProgress)
    const results: DeadLetterResult[] = []
    for (let at = 0; at < ids.length; at += AT_ONCE) {
      results.push(...await Promise.all(ids.slice(at, at + AT_ONCE).map(act)))
      onProgress?.({ looked: looked ?? results.length, done: results.length })
    }
    return results
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
      const { letters, nextPageToken } = await page(readQuery(query))
      return { letters, nextPageToken }
    },

    async replay (which, options = {}) {
      checkReplayOptions(options)
      const { as: name } = options
      const as = name === undefined ? undefined : byName.get(name)
      if (name !== undefined && as === undefined) throw new FST_TASKS_INVALID_LETTER_QUERY(`'as': there is no task '${name}'`)
      return await each(which, options, async id => await replayOne(id, as))
    },

    async discard (which, options = {}) {
      checkDiscardOptions(options)
      return await each(which, options, async id => await remove(id, 'discarded'))
    }
  }
}

function renamed (
  { httpRequest, appEngineHttpRequest, dispatchDeadlineMs }: TaskContent, as: ReplayTarget, newTask: DeadLettersOptions['newTask']
): TaskContent {
  const { headers = {}, body = Buffer.alloc(0) } = httpRequest ?? appEngineHttpRequest ?? {}
  const task = newTask(as.route, { method: as.method, headers, body: Buffer.from(body) })
  return dispatchDeadlineMs === undefined ? task : { ...task, dispatchDeadlineMs }
}

/** Letters that are read, enqueued and deleted at the same time. */
const AT_ONCE = 16
