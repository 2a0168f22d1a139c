import type { IncomingHttpHeaders } from 'node:http'
import { TRACE_PARENT_HEADER, TRACE_STATE_HEADER } from '../delivery/headers.js'
import { attemptChannel, type AttemptEvent, type Filled, type TraceHeaders } from '../events.js'
import type { AttemptContext } from './context.js'
import type { Outcome } from './settlement.js'

/**
 * Runs an attempt and publishes its events. Subscribers of `start` set `around` and `logFields`.
 * @param verified whether the caller was authenticated, so that its trace headers can be trusted
 */
export function tracedAttempt (
  context: AttemptContext, headers: IncomingHttpHeaders, verified: boolean, work: () => Promise<Outcome>
): Promise<Outcome> {
  // Hot path: no additional promise.
  return attemptChannel.hasSubscribers ? publish(context, headers, verified, work) : work()
}

async function publish (
  context: AttemptContext, headers: IncomingHttpHeaders, verified: boolean, work: () => Promise<Outcome>
): Promise<Outcome> {
  const event = newEvent(context, headers, verified)
  let outcome: Outcome | undefined
  const attempt = async (): Promise<Outcome['result']> => {
    context.logFields = event.logFields
    outcome = event.around === undefined ? await work() : await event.around(work)
    event.status = outcome.status
    event.exhausted = outcome.exhausted
    event.durationMs = context.durationMs
    // Thrown so that the channel publishes the events of a failure.
    if (outcome.result === 'retry') {
      event.result = 'retry'
      throw outcome.error
    }
    return outcome.result
  }
  try {
    await attemptChannel.tracePromise(attempt, event)
  } catch (error) {
    if (outcome === undefined) throw error
  }
  return outcome!
}

function newEvent ({ name, id, queue, attempt }: AttemptContext, headers: IncomingHttpHeaders, verified: boolean): Filled<AttemptEvent> {
  const length = headers['content-length']
  return {
    task: name,
    id,
    queue,
    attempt,
    bodySize: length === undefined ? undefined : Number(length),
    trace: verified ? traceOf(headers) : undefined,
    result: undefined,
    status: undefined,
    durationMs: 0,
    exhausted: false,
    error: undefined,
    logFields: undefined,
    around: undefined
  }
}

function traceOf (headers: IncomingHttpHeaders): TraceHeaders | undefined {
  const parent = headers[TRACE_PARENT_HEADER]
  const state = headers[TRACE_STATE_HEADER]
  return typeof parent === 'string' ? { parent, state: typeof state === 'string' ? state : undefined } : undefined
}
