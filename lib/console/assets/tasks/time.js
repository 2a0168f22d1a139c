import { useClock } from '../data/clock.js'
import { html, useCallback } from '../htm-preact.js'
import { distance, exactly } from './quantity.js'

/** A relative time, with the absolute time in its title. */
export function Time ({ at }) {
  const read = useCallback(now => distance(at, now), [at])
  return html`<time datetime=${new Date(at).toISOString()} title=${exactly(at)}>${useClock(read)}</time>`
}
