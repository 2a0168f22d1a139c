import { generation, onRows } from '../data/live-state.js'
import { useEffect, useRef, useState } from '../htm-preact.js'
import { get } from '../data/server.js'
import { hasEnded } from '../tasks/state.js'
import { useObservable } from '../data/observable.js'

/**
 * A live page of tasks. `held`: while the user interacts with it, rows keep their position: those that do not match any more stay, with
 * their new state, and new ones are only counted.
 *
 * @returns {{ rows?: object[], next?: string, error?: Error, fresh: number, findNext: () => Promise<string | undefined> }}
 */
export function useTaskPage ({ state, queue, pageToken, limit = 50 }, held = false) {
  const turn = useObservable(generation)
  const [page, setPage] = useState({ rows: undefined, next: undefined, error: undefined, waiting: [] })
  const heldNow = useRef(held)
  heldNow.current = held

  useEffect(() => {
    let current = true
    let missed = []
    const belongs = row => matches(row, state) && (queue === undefined || row.queue === queue)
    const stop = onRows(changed => {
      // Changes while the page is loading may be newer than the page.
      missed?.push(...changed)
      setPage(page =>
        page.rows === undefined ? page : merge(page, changed, { belongs, held: heldNow.current, first: pageToken === undefined, limit })
      )
    })
    get('tasks', { state, queue, pageToken, limit }).then(
      ({ tasks, nextPageToken }) => {
        if (!current) return
        const loaded = { rows: tasks, next: nextPageToken, error: undefined, waiting: [], grown: false }
        setPage(merge(loaded, missed, { belongs, held: false, first: pageToken === undefined, limit }))
        missed = undefined
      },
      error => { if (current) setPage({ rows: undefined, next: undefined, error, waiting: [] }) }
    )
    return () => {
      current = false
      stop()
    }
  }, [state, queue, pageToken, limit, turn])

  useEffect(() => {
    if (!held) setPage(page => page.rows === undefined ? page : release(page, row => matches(row, state), limit))
  }, [held])

  // New rows have moved others beyond the end, so the start of the next page has changed.
  const findNext = async () => page.grown ? (await get('tasks', { state, queue, pageToken, limit })).nextPageToken : page.next
  return { rows: page.rows, next: page.next ?? (page.grown ? '' : undefined), error: page.error, fresh: page.waiting.length, findNext }
}

export function matches (row, state) {
  if (state === 'pending') return !hasEnded(row.state)
  if (state === 'ended') return hasEnded(row.state)
  return row.state === state
}

function merge (page, changed, { belongs, held, first, limit }) {
  let { rows, waiting } = page
  for (const row of changed) {
    const place = rows.findIndex(({ name }) => name === row.name)
    waiting = waiting.filter(({ name }) => name !== row.name)
    if (place !== -1) {
      rows = held || belongs(row) ? rows.with(place, row) : rows.toSpliced(place, 1)
    } else if (belongs(row) && first) {
      waiting = [row, ...waiting]
    }
  }
  return held ? { ...page, rows, waiting: waiting.slice(0, limit) } : release({ ...page, rows, waiting }, belongs, limit)
}

function release (page, belongs, limit) {
  const rows = [...page.waiting, ...page.rows].filter(belongs)
  return { ...page, waiting: [], rows: rows.slice(0, limit), grown: page.grown || rows.length > limit }
}
