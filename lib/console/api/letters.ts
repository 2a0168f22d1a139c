import type { DeadLetterFilter, DeadLetterResult } from '../../dead-letters/dead-letters.js'
import type { PluginHandle } from '../../plugin-handle.js'
import type { LetterChange, LetterPage } from './api.js'

/** A query of the page, validated by the routes. */
export interface LetterQuery {
  readonly task: string | undefined
  readonly code: string | undefined
  readonly endedBefore: number | undefined
  readonly pageToken: string | undefined
  readonly limit: number
}

/**
 * A page of dead letters, latest first.
 * @throws as `app.tasks.deadLetters.list`
 */
export async function listLetters ({ app }: PluginHandle, query: LetterQuery): Promise<LetterPage> {
  const { task, code, endedBefore, pageToken, limit } = query
  const filter: DeadLetterFilter = {
    ...(task === undefined ? undefined : { task: task as never }),
    ...(code === undefined ? undefined : { code }),
    ...(endedBefore === undefined ? undefined : { before: new Date(endedBefore) })
  }
  const page = await app.tasks.deadLetters.list({ ...filter, pageSize: limit, ...(pageToken === undefined ? undefined : { pageToken }) })
  const letters = page.letters.map(({ time, ...letter }) => {
    return { ...letter, ...(time === undefined ? undefined : { endedAt: time.getTime() }) }
  })
  letters.sort((a, b) => endOf(b) - endOf(a))
  return { letters, ...(page.nextPageToken === undefined ? undefined : { nextPageToken: page.nextPageToken }) }
}

/** For the order: letters whose end is unknown are the oldest. */
function endOf ({ endedAt = -1 }: { readonly endedAt?: number }): number {
  return endedAt
}

/** @throws as `app.tasks.deadLetters.replay` and `discard` */
export async function changeLetters (
  { app }: PluginHandle, change: 'replay' | 'discard', ids: readonly string[], as: string | undefined
): Promise<LetterChange> {
  const { deadLetters } = app.tasks
  const results: readonly DeadLetterResult[] = change === 'discard'
    ? await deadLetters.discard(ids)
    : await deadLetters.replay(ids, as === undefined ? {} : { as: as as never })
  return { results }
}
