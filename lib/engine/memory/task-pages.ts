import { randomUUID } from 'node:crypto'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { TaskEntry, TaskQueue } from './task-queue.js'

export interface TaskPageQuery {
  readonly pageSize?: number
  readonly pageToken?: string
}

/** Resolves a requested page size like the service: absent, 0 and too large mean the maximum. */
export function pageSize (asked: number | undefined, max: number): number {
  return asked === undefined || asked <= 0 || asked > max ? max : asked
}

/**
 * Iterates over the tasks of a queue in pages; the cost of a page is proportional to its size. A page ends early when its tasks have
 * 3 MiB: gRPC clients accept 4 MiB by default, and reading more from disk at once would block the event loop. A token identifies the
 * rest of an iteration; used again, it returns the same tasks, without those that are gone by then.
 */
export class TaskPager {
  readonly #walks = new Map<string, Walk>()

  /**
   * Throws INVALID_ARGUMENT for a token that is unknown, of another queue or older than two hours.
   * @param now in monotonic time
   * @param bytesOf the size of a task in its page
   */
  page (
    queue: TaskQueue,
    request: TaskPageQuery,
    now: number,
    bytesOf: (entry: TaskEntry) => number
  ): { entries: TaskEntry[], nextPageToken?: string } {
    const walk = request.pageToken ? this.#continue(queue, request.pageToken, now) : startWalk(queue, now)
    walk.page ??= this.#advance(walk, pageSize(request.pageSize, MAX_PAGE), now, bytesOf)
    const { entries, next } = walk.page
    return { entries: entries.filter(entry => queue.owns(entry)), ...(next === undefined ? undefined : { nextPageToken: next }) }
  }

  #continue (queue: TaskQueue, token: string, now: number): Walk {
    const walk = this.#walks.get(token)
    if (walk === undefined || walk.queue !== queue || walk.startedAt + TOKEN_TTL_MS <= now) throw statusErrors.pageToken()
    return walk
  }

  #advance (walk: Walk, size: number, now: number, bytesOf: (entry: TaskEntry) => number): Page {
    const entries: TaskEntry[] = []
    let bytes = 0
    // Reads one more task, to know whether there is a next page.
    for (let entry = walk.ahead ?? next(walk); entry !== undefined; entry = next(walk)) {
      if (entries.length === size) return { entries, next: this.#remember(walk, entry, now) }
      bytes += bytesOf(entry)
      if (entries.length > 0 && bytes > MAX_PAGE_BYTES) return { entries, next: this.#remember(walk, entry, now) }
      entries.push(entry)
    }
    return { entries }
  }

  #remember ({ queue, rest }: Walk, ahead: TaskEntry, now: number): string {
    const token = randomUUID()
    this.#walks.set(token, { queue, rest, ahead, startedAt: now })
    if (this.#walks.size > MAX_WALKS) this.#walks.delete(this.#walks.keys().next().value!)
    return token
  }
}

function next ({ rest }: Walk): TaskEntry | undefined {
  return rest.next().value
}

interface Page {
  readonly entries: TaskEntry[]
  readonly next?: string
}

interface Walk {
  readonly queue: TaskQueue
  readonly rest: Iterator<TaskEntry, undefined>
  /** A task that was read in advance, the first on this page. */
  readonly ahead?: TaskEntry
  readonly startedAt: number
  page?: Page
}

function startWalk (queue: TaskQueue, now: number): Walk {
  return { queue, rest: queue.tasks.values(), startedAt: now }
}

const MAX_PAGE_BYTES = 3 * 1024 * 1024
/** The documented limits of ListTasks. */
const MAX_PAGE = 1000
const TOKEN_TTL_MS = 2 * 3600 * 1000

/** Maximum number of remembered iterations; the oldest is evicted first. */
const MAX_WALKS = 100
