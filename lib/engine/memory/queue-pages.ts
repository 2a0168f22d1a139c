import { parseQueueName } from '../../cloud-tasks/names.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { StoredQueue } from '../../store/store.js'
import { pageSize, type TaskPageQuery } from './task-pages.js'
import type { TaskQueue } from './task-queue.js'

export interface QueueQuery extends TaskPageQuery {
  /** Filters the queues. */
  readonly matches?: (queue: StoredQueue) => boolean
}

export interface QueuePage {
  readonly queues: readonly StoredQueue[]
  readonly nextPageToken?: string
}

/**
 * A page of `queues`, in lexicographic order. Throws INVALID_ARGUMENT for a token that names no queue.
 * @param queues all queues of one location, in any order
 */
export function queuePage (queues: Iterable<TaskQueue>, { pageSize: asked, pageToken, matches = () => true }: QueueQuery): QueuePage {
  const after = pageToken ? decodeToken(pageToken) : ''
  const size = pageSize(asked, MAX_PAGE)
  const page: StoredQueue[] = []
  for (const { stored } of [...queues].filter(({ name }) => name > after).sort(byName)) {
    if (!matches(stored)) continue
    // One more than requested shows that there is a next page.
    if (page.length === size) return { queues: page, nextPageToken: encodeToken(page.at(-1)!.name) }
    page.push(stored)
  }
  return { queues: page }
}

function byName (a: TaskQueue, b: TaskQueue): number {
  return a.name < b.name ? -1 : 1
}

function encodeToken (name: string): string {
  return Buffer.from(name).toString('base64url')
}

function decodeToken (token: string): string {
  const name = Buffer.from(token, 'base64url').toString()
  if (parseQueueName(name) === undefined) throw statusErrors.pageToken()
  return name
}

/** The documented limit of ListQueues. */
const MAX_PAGE = 9800
