import { now, setClock } from './clock.js'
import { connect } from './connection.js'
import { get, onOldToken, useToken } from './server.js'
import { Observable } from './observable.js'

/** The server's overview, kept up to date by its messages; undefined until it is loaded. */
export const overview = new Observable(undefined)

/** The error of loading it. */
export const overviewError = new Observable(undefined)

/** Incremented when messages may have been missed, so that all views reload. */
export const generation = new Observable(0)

const rowListeners = new Set()

/** @param {(rows: object[]) => void} called with the tasks that have changed */
export function onRows (listener) {
  rowListeners.add(listener)
  return () => { rowListeners.delete(listener) }
}

/** Connects before loading the overview, so that no change in between is missed. */
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
  // Messages do not contain the settings of a new queue.
  if (received.some(({ name }) => !known.some(queue => queue.name === name))) loadOverview()
  return known.flatMap(queue => {
    const update = received.find(({ name }) => name === queue.name)
    return update === undefined ? [] : [{ ...queue, ...update }]
  })
}

/** Replaces buckets of the same second, and removes those that are too old to be shown. */
function mergedTimeline (known, received) {
  if (received.length === 0) return known
  const from = now() - KEPT_MS
  return [...known.filter(({ at }) => at >= from && at < received[0].at), ...received]
}

const KEPT_MS = 310_000
