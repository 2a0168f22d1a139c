import { now } from './clock.js'
import { get, post } from './server.js'

/** The query of a filter, without empty conditions. @param age a key of `AGES` */
export function letterFilter ({ task, code, age }) {
  const ms = AGES[age]?.ms
  return { task, code, endedBefore: ms === undefined ? undefined : Math.floor(now() - ms) }
}

export const AGES = {
  hour: { label: 'an hour', ms: 3_600_000 },
  day: { label: 'a day', ms: 86_400_000 },
  week: { label: 'a week', ms: 7 * 86_400_000 },
  fortnight: { label: '14 days', ms: 14 * 86_400_000 }
}

/**
 * Ids of all letters that match a filter, so that the confirmed letters are the changed ones, even if others arrive in the meantime.
 * @param {(found: number) => void} onFound called after each page
 */
export async function findLetters (filter, onFound) {
  const ids = []
  let pageToken
  do {
    const { letters, nextPageToken } = await get('letters', { ...filter, pageToken, limit: 1000 })
    for (const { id } of letters) ids.push(id)
    onFound(ids.length)
    pageToken = nextPageToken
  } while (pageToken !== undefined)
  return ids
}

/**
 * Replays or discards letters in chunks.
 * @param {'replay' | 'discard'} what
 * @param {string | undefined} as another task to replay as
 * @param {(done: number) => void} onProgress
 */
export async function changeLetters (what, ids, as, onProgress) {
  const results = []
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const { results: some } = await post(`letters/${what}`, { ids: ids.slice(from, from + AT_ONCE), as })
    results.push(...some)
    onProgress(results.length)
  }
  return results
}

/** The server's maximum. */
const AT_ONCE = 100
