import { now, setClock } from './clock.js'
import { connect } from './connection.js'
import { get, onOldToken, useToken } from './server.js'
import { Store } from './store.js'

/** The server's overview, kept up to date by its messages; undefined until it is loaded. */
export const overview = new Store(undefined)

/** Why it could not be loaded. */
export const overviewError = new Store(undefined)

/** Incremented when messages may have been missed, so that everything shown must be loaded again. */
export const generation = new Store(0)

const rowListeners = new Set()

/** @param {(rows: object[]) => void} called with the tasks that have changed */
export function onRows (listener) {
  rowListeners.add(listener)
  return () => { rowListeners.delete(listener) }
}

/** Connects first and loads the overview then, so that no change between the two is missed. */
export async function open () {
  onOldToken(loadOverview)
  await connect({
    onLive: apply,
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
    overview.set(latest?.now > loaded.now ? merged(loaded, latest) : loaded)
  } catch (error) {
    overviewError.set(error)
  }
}

/** Replaces a queue by its state after an action. */
export function putQueue (queue) {
  const { queues, ...rest } = overview.value
  overview.set({ ...rest, queues: queues.map(one => one.name === queue.name ? queue : one) })
}

/** The latest message. It may be newer than an overview that arrives after it. */
let latest

function apply (message) {
  latest = message
  setClock(message.now)
  if (overview.value !== undefined) overview.set(merged(overview.value, message))
  if (message.changed.length === 0) return
  for (const listener of [...rowListeners]) listener(message.changed)
}

function merged (known, { queues, timeline }) {
  return { ...known, queues: mergedQueues(known.queues, queues), timeline: mergedTimeline(known.timeline, timeline) }
}

function mergedQueues (known, received) {
  if (known === null || received === null) return known
  // A new queue comes without its settings.
  if (received.some(({ name }) => !known.some(queue => queue.name === name))) loadOverview()
  return known.flatMap(queue => {
    const update = received.find(({ name }) => name === queue.name)
    return update === undefined ? [] : [{ ...queue, ...update }]
  })
}

/** Buckets of the same second are replaced; those that are too old to be shown are removed. */
function mergedTimeline (known, received) {
  if (received.length === 0) return known
  const from = now() - KEPT_MS
  return [...known.filter(({ at }) => at >= from && at < received[0].at), ...received]
}

const KEPT_MS = 310_000
