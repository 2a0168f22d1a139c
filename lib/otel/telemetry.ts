import {
  diag, SpanKind, SpanStatusCode, type Attributes, type Context, type Link, type Span, type Tracer
} from '@opentelemetry/api'
import type { Measurements } from './measurements.js'
import { attributes as names, SYSTEM } from './names.js'

/** What spans and metrics are made with; each part may be replaced while the instrumentation is enabled. */
export interface Telemetry {
  readonly config: { readonly propagation: 'link' | 'parent', readonly deprecatedSystemAttribute: boolean }
  readonly tracer: Tracer
  readonly measurements: Measurements | undefined
}

/** The span of an event between its start and its end. */
export interface Traced {
  readonly span: Span
  /** In monotonic time. */
  readonly startedAt: number
}

/** Of each operation the kind of its spans. A batch is no message: each of its messages has a span of its own to refer to. */
export const spanKinds = {
  send: SpanKind.PRODUCER,
  'send batch': SpanKind.CLIENT,
  create: SpanKind.PRODUCER,
  process: SpanKind.CONSUMER
} as const

/** @param own attributes of this span; becomes the span's */
export function startSpan (
  { config, tracer }: Telemetry, operation: keyof typeof spanKinds, queue: string, own: Attributes, parent: Context, links?: Link[]
): Span {
  const name = operation === 'send batch' ? 'send' : operation
  own[names.operationName] = name
  own[names.operationType] = name
  own[names.destination] = queue
  const attributes = withSystem(config, own)
  const options = links === undefined ? { kind: spanKinds[operation], attributes } : { kind: spanKinds[operation], attributes, links }
  return tracer.startSpan(`${name} ${queue}`, options, parent)
}

export function metricAttributes ({ config }: Telemetry, name: 'send' | 'process', queue: string): Attributes {
  return withSystem(config, { [names.operationName]: name, [names.destination]: queue })
}

export function withSystem ({ deprecatedSystemAttribute }: Telemetry['config'], attributes: Attributes): Attributes {
  attributes[names.system] = SYSTEM
  if (deprecatedSystemAttribute) attributes[names.deprecatedSystem] = SYSTEM
  return attributes
}

export function fail (span: Span, error: unknown): void {
  const message = error instanceof Error ? error.message : undefined
  span.setAttribute(names.errorType, errorType(error))
  span.setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? undefined : { message }) })
  if (error instanceof Error) span.recordException(error)
}

/** A code or a class, so that there are few of them; never a message. */
export function errorType (error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER'
  const { code, name } = error as Error & { readonly code?: unknown }
  for (const type of [code, name]) if (typeof type === 'string' && /^\w{1,100}$/.test(type)) return type
  return '_OTHER'
}

/** Undefined is returned in place of an error, which goes to `diag`. */
export function guarded<E, R> (call: (event: E) => R): (event: E) => R | undefined {
  return event => {
    try {
      return call(event)
    } catch (error) {
      report(error)
      return undefined
    }
  }
}

export function report (error: unknown): void {
  try {
    diag.error('fastify-cloud-tasks: instrumentation error', error)
  } catch {
    // A logger that throws leaves nowhere to report to.
  }
}
