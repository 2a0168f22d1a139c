import { generation, onRows } from '../data/live-state.js'
import { useEffect, useRef, useState } from '../htm-preact.js'
import { get } from '../data/server.js'
import { hasEnded } from '../tasks/state.js'
import { useStore } from '../data/store.js'

/**
 * A page of tasks that is kept up to date. `held`: somebody is about to use it, so rows stay where they are: those that no
 * longer belong stay, with their new state, and new ones are only counted.
 *
 * @returns {{ rows?: object[], next?: string, error?: Error, fresh: number, findNext: () => Promise<string | undefined> }}
 */
export function useTaskPage ({ state, queue, pageToken, limit = 50 }, held = false) {
  const turn = useStore(generation)
  const [page, setPage] = useState({ rows: undefined, next: undefined, error: undefined, waiting: [] })
  const heldNow = useRef(held)
  heldNow.current = held

  useEffect(() => {
    let current = true
    let missed = []
    const belongs = row => matches(row, state) && (queue === undefined || row.queue === queue)
    const stop = onRows(changed => {
      // What changes while the page is on its way may be newer than what it brings.
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

  // New rows have pushed others out behind the end: where the next page begins has to be asked for again.
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
