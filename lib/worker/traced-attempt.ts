import type { IncomingHttpHeaders } from 'node:http'
import { TRACE_PARENT_HEADER, TRACE_STATE_HEADER } from '../delivery/headers.js'
import { attemptChannel, type AttemptEvent, type Filled, type TraceHeaders } from '../events.js'
import type { AttemptScope } from '../delivery/attempt-scope.js'
import type { AttemptContext } from './context.js'
import type { Outcome } from './settlement.js'

/**
 * Runs an attempt and publishes its events. Subscribers of `start` set `around` and `logFields`.
 * @param verified whether the caller was authenticated, so that its trace headers can be trusted
 */
export function tracedAttempt (
  context: AttemptContext, headers: IncomingHttpHeaders, verified: boolean, scope: AttemptScope, work: () => Promise<Outcome>
): Promise<Outcome> {
  // Hot path: no additional promise.
  return attemptChannel.hasSubscribers ? publish(newEvent(context, headers, verified, scope), context, work) : work()
}

function publish (event: Filled<AttemptEvent>, context: AttemptContext, work: () => Promise<Outcome>): Promise<Outcome> {
  let outcome: Outcome | undefined
  const settled = (settled: Outcome): Outcome['result'] => {
    outcome = settled
    event.status = settled.status
    event.exhausted = settled.exhausted
    event.durationMs = context.durationMs
    // Thrown so that the channel publishes the events of a failure.
    if (settled.result === 'retry') {
      event.result = 'retry'
      throw settled.error
    }
    return settled.result
  }
  const attempt = (): Promise<Outcome['result']> => {
    context.logFields = event.logFields
    return (event.around === undefined ? work() : event.around(work)).then(settled)
  }
  const end = (error?: unknown): Outcome => {
    if (outcome === undefined) throw error
    return outcome
  }
  return attemptChannel.tracePromise(attempt, event).then(end, end)
}

function newEvent (
  { name, id, queue, attempt }: AttemptContext, headers: IncomingHttpHeaders, verified: boolean, { listening }: AttemptScope
): Filled<AttemptEvent> {
  const length = headers['content-length']
  return {
    task: name,
    id,
    queue,
    attempt,
    bodySize: length === undefined ? undefined : Number(length),
    trace: verified ? traceOf(headers) : undefined,
    listening,
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
