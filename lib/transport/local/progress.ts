import type { FastifyInstance } from 'fastify'
import { systemClock } from '../../clock/clock.js'
import type { LoadProgress } from '../../store/store.js'

/** Logs the progress of opening if it takes more than a second. */
export function progressLogger (app: FastifyInstance, directory: string | undefined): (progress: LoadProgress) => void {
  let loggedAt = systemClock.monotonic()
  return ({ step, done, total }) => {
    const now = systemClock.monotonic()
    if (now - loggedAt < PROGRESS_MS) return
    loggedAt = now
    app.log.info({ directory, step, done, total }, `opening the embedded queue: ${step}`)
  }
}

const PROGRESS_MS = 1000
