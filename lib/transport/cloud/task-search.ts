import type { Found, Listed } from '../transport.js'

/** A page of a queue, a thousand tasks at most. Never rejects. */
export type ListPage = (queue: string, pageToken: string | undefined) => Promise<Listed>

/** Pages of a thousand tasks that are looked through. */
export const SEARCH_PAGES = 10

interface Wanted {
  readonly suffixes: readonly string[]
  readonly answer: (found: Found) => void
}

/**
 * Finds tasks by what their ids end with, in the list of their queue: Cloud Tasks has no filter, and allows 600 calls a minute for all
 * queues of a region. Searches of one queue at the same time share one list. It is always one that began after the search did, so that a
 * task that was there then is found.
 */
export class TaskSearch {
  readonly #list: ListPage
  /** By queue: those that wait for the next list. A queue is in here while one of its lists is read. */
  readonly #waiting = new Map<string, Wanted[]>()

  constructor (list: ListPage) {
    this.#list = list
  }

  /** Never rejects. */
  async find (queue: string, suffixes: readonly string[]): Promise<Found> {
    return await new Promise(resolve => {
      const search = { suffixes, answer: resolve }
      const waiting = this.#waiting.get(queue)
      if (waiting !== undefined) {
        waiting.push(search)
        return
      }
      this.#waiting.set(queue, [search])
      this.#run(queue)
    })
  }

  async #run (queue: string): Promise<void> {
    // Those that are called in the same turn begin together.
    await Promise.resolve()
    for (;;) {
      const wanted = this.#waiting.get(queue)!
      if (wanted.length === 0) break
      this.#waiting.set(queue, [])
      await this.#search(queue, wanted)
    }
    this.#waiting.delete(queue)
  }

  async #search (queue: string, wanted: readonly Wanted[]): Promise<void> {
    let left = wanted
    const end = (found: Found): void => { for (const { answer } of left) answer(found) }
    let pageToken: string | undefined
    for (let page = 0; page < SEARCH_PAGES; page++) {
      const listed = await this.#list(queue, pageToken)
      if (listed.outcome === 'failed') return end({ outcome: 'unknown', problem: listed.problem })
      if (listed.outcome !== 'listed') return end({ outcome: 'unknown', problem: listed.outcome })
      left = unfound(left, listed.tasks.map(({ id }) => id))
      if (left.length === 0) return
      pageToken = listed.nextPageToken
      if (pageToken === undefined) return end({ outcome: 'notFound' })
    }
    end({ outcome: 'unknown', problem: `the queue has more than ${SEARCH_PAGES} pages of tasks` })
  }
}

/** Answers those whose task is among `ids`, and returns the others. */
function unfound (wanted: readonly Wanted[], ids: readonly string[]): readonly Wanted[] {
  const bySuffix = new Map<string, string>()
  const lengths = new Set(wanted.flatMap(({ suffixes }) => suffixes.map(({ length }) => length)))
  for (const id of ids) for (const length of lengths) bySuffix.set(id.slice(-length), id)
  return wanted.filter(({ suffixes, answer }) => {
    const id = suffixes.map(suffix => bySuffix.get(suffix)).find(found => found !== undefined)
    if (id !== undefined) answer({ outcome: 'found', id })
    return id === undefined
  })
}
