import type { FastifyBaseLogger } from 'fastify'
import type { Config } from '../../options/config.js'
import type { CloudQueues, QueueFields } from './queues.js'

/** Settings of a queue that keeps dead letters: it dispatches nothing by itself, and running one by force does not use it up. */
export const LETTER_QUEUE: QueueFields = new Map<string, number | string>([['retryConfig.maxAttempts', -1], ['state', 'PAUSED']])

/**
 * Logs what is wrong with the queue of the option `deadLetterQueue`. In an emulator, which is often started empty, a missing one is
 * created. Never rejects.
 * @param closing ends the check without a word
 */
export async function checkLetterQueue (
  queues: CloudQueues, config: Config, log: FastifyBaseLogger, closing: AbortSignal
): Promise<void> {
  const { deadLetterQueue, emulatorHost, location, project = 'PROJECT' } = config
  if (deadLetterQueue === undefined) return
  try {
    const actual = await queues.read(deadLetterQueue)
    if (closing.aborted) return
    if (actual === undefined && emulatorHost !== undefined) {
      await queues.create(deadLetterQueue, LETTER_QUEUE).catch(async (error: unknown) => {
        // Another worker that starts at the same time makes it, too.
        if (await queues.read(deadLetterQueue) === undefined) throw error
      })
      log.info({ deadLetterQueue }, 'the queue of the dead letters was created in the emulator')
      return
    }
    const gcloud = (command: string): string => `gcloud tasks queues ${command} --location=${location} --project=${project}`
    if (actual === undefined) {
      log.warn({ deadLetterQueue }, 'the queue of the dead letters is missing, so tasks whose last attempt fails are lost; run ' +
        `'fastify-cloud-tasks queues sync', or '${gcloud(`create ${deadLetterQueue}`)} --max-attempts=unlimited' and ` +
        `'${gcloud(`pause ${deadLetterQueue}`)}'`)
      return
    }
    const state = actual.get('state')
    if (state !== 'PAUSED') {
      log.warn({ deadLetterQueue, state }, 'the queue of the dead letters is not paused, so it runs them; ' +
        `run 'fastify-cloud-tasks queues sync' or '${gcloud(`pause ${deadLetterQueue}`)}'`)
    }
    const maxAttempts = actual.get('retryConfig.maxAttempts')
    if (maxAttempts !== -1) {
      log.warn({ deadLetterQueue, maxAttempts }, 'the queue of the dead letters limits attempts, so one that is run by force and fails ' +
        `can be deleted; run 'fastify-cloud-tasks queues sync' or '${gcloud(`update ${deadLetterQueue}`)} --max-attempts=unlimited'`)
    }
  } catch (err) {
    if (closing.aborted) return
    log.warn({ deadLetterQueue, err }, `the queue of the dead letters could not be checked: ${(err as Error).message}`)
  }
}
