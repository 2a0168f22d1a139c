import { now, setClock } from './clock.js'
import { connect } from './connection.js'
import { get, onOldToken, useToken } from './server.js'
import { Store } from './store.js'

/** The server's overview with what was heard since; undefined until it was loaded. */
export const overview = new Store(undefined)

/** Why it could not be loaded. */
export const overviewError = new Store(undefined)

/** Counts up when messages may have been missed: what is shown must be loaded again. */
export const generation = new Store(0)

const rowListeners = new Set()

/** @param {(rows: object[]) => void} listener hears of the tasks that have changed */
export function onRows (listener) {
  rowListeners.add(listener)
  return () => { rowListeners.delete(listener) }
}

/** Listens, then loads the overview: nothing that happens in between is missed. */
export async function open () {
  onOldToken(loadOverview)
  await connect({
    onLive: hear,
    onReturn: async () => {
      await loadOverview()
      generation.set(generation.value + 1)
    }
  })
  await loadOverview()
}

export async function loadOverview () {
  try {
    const loaded = await get('overview')
    setClock(loaded.now)
    useToken(loaded.token)
    overviewError.set(undefined)
    overview.set(heard?.now > loaded.now ? after(loaded, heard) : loaded)
  } catch (error) {
    overviewError.set(error)
  }
}

/** A queue as the server has just described it. */
export function putQueue (queue) {
  const { queues, ...rest } = overview.value
  overview.set({ ...rest, queues: queues.map(one => one.name === queue.name ? queue : one) })
}

/** The last message: it may be newer than an overview that arrives after it. */
let heard

function hear (message) {
  heard = message
  setClock(message.now)
  if (overview.value !== undefined) overview.set(after(overview.value, message))
  if (message.changed.length === 0) return
  for (const listener of [...rowListeners]) listener(message.changed)
}

function after (known, { queues, timeline }) {
  return { ...known, queues: queuesAfter(known.queues, queues), timeline: timelineAfter(known.timeline, timeline) }
}

function queuesAfter (known, heard) {
  if (known === null || heard === null) return known
  // A queue that is new comes without its settings.
  if (heard.some(({ name }) => !known.some(queue => queue.name === name))) loadOverview()
  return known.flatMap(queue => {
    const latest = heard.find(({ name }) => name === queue.name)
    return latest === undefined ? [] : [{ ...queue, ...latest }]
  })
}

/** Buckets of the same second are replaced; those that have left the picture go. */
function timelineAfter (known, heard) {
  if (heard.length === 0) return known
  const from = now() - KEPT_MS
  return [...known.filter(({ at }) => at >= from && at < heard[0].at), ...heard]
}

const KEPT_MS = 310_000
