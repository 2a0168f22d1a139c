import { createTraceState, INVALID_SPANID, INVALID_TRACEID, isSpanContextValid, type SpanContext } from '@opentelemetry/api'
import { TRACE_PARENT_HEADER, TRACE_STATE_HEADER } from '../delivery/headers.js'
import type { TraceHeaders } from '../events.js'

/**
 * The headers by which a task carries the span that it was created in; undefined where there is none.
 * @param asParent also as W3C's own headers, which make it the parent of whatever span the receiving server starts first
 */
export function printTrace (span: SpanContext, asParent: boolean): Record<string, string> | undefined {
  if (!isSpanContextValid(span)) return undefined
  const parent = `00-${span.traceId}-${span.spanId}-0${span.traceFlags & 1}`
  const headers: Record<string, string> = { [TRACE_PARENT_HEADER]: parent }
  if (asParent) headers.traceparent = parent
  const state = span.traceState?.serialize()
  if (state === undefined || !isState(state)) return headers
  headers[TRACE_STATE_HEADER] = state
  if (asParent) headers.tracestate = state
  return headers
}

/** The span that a task was created in. Undefined for anything that `printTrace` does not write. */
export function readTrace ({ parent, state }: TraceHeaders): SpanContext | undefined {
  if (parent.length !== PARENT_LENGTH) return undefined
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])$/.exec(parent) ?? []
  if (traceId === undefined || spanId === undefined) return undefined
  if (traceId === INVALID_TRACEID || spanId === INVALID_SPANID) return undefined
  const span: SpanContext = { traceId, spanId, traceFlags: Number(flags), isRemote: true }
  return state !== undefined && isState(state) ? { ...span, traceState: createTraceState(state) } : span
}

function isState (state: string): boolean {
  return state.length > 0 && state.length <= MAX_STATE_LENGTH && /^[\x20-\x7e]+$/.test(state)
}

const PARENT_LENGTH = 55

/** The least that W3C's Trace Context wants to be passed on. */
const MAX_STATE_LENGTH = 512
