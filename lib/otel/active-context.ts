import { context, ROOT_CONTEXT, trace, type Context } from '@opentelemetry/api'
import type { Around, AttemptEvent } from '../events.js'
import { report } from './telemetry.js'

/** Does the work with `active` as the active context. The work is done once, whatever the context manager does. */
export function inside (active: Context, outer: Around | undefined): Around {
  return <T>(work: () => Promise<T>) => once(active, () => outer === undefined ? work() : outer(work))
}

/** Does the work with no active span and no baggage. */
export function untraced (outer: (<T>(work: () => T) => T) | undefined): <T>(work: () => T) => T {
  return work => once(ROOT_CONTEXT, () => outer === undefined ? work() : outer(work))
}

/** What is active for an attempt, less what its request has only inherited from the server that it came through. */
export function contextOf ({ listening }: AttemptEvent): Context {
  const active = context.active()
  const span = trace.getSpan(active)
  if (span === undefined || listening === undefined) return active
  return listening.runInAsyncScope(() => trace.getActiveSpan()) === span ? ROOT_CONTEXT : active
}

function once<T> (active: Context, work: () => T): T {
  let done: { readonly result: T } | undefined
  const begin = (): void => { done ??= { result: work() } }
  try {
    context.with(active, begin)
  } catch (error) {
    if (done === undefined) report(error)
  }
  begin()
  return done!.result
}
