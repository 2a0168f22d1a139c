import { isSpanContextValid, trace, type Attributes, type Context, type Link, type SpanContext } from '@opentelemetry/api'
import { systemClock } from '../clock/clock.js'
import type { AttemptEvent } from '../events.js'
import { contextOf, inside, withSpan } from './active-context.js'
import { attributes as names } from './names.js'
import { errorType, fail, guarded, metricAttributes, startSpan, type Telemetry, type Traced } from './telemetry.js'
import { readTrace } from './trace-header.js'

/** The spans of attempts. */
export class AttemptSpans {
  readonly #telemetry: Telemetry
  readonly #traced = new Map<AttemptEvent, Traced>()

  constructor (telemetry: Telemetry) {
    this.#telemetry = telemetry
  }

  readonly start = guarded((event: AttemptEvent): void => {
    const active = contextOf(event)
    const { task, id, queue, attempt, bodySize } = event
    const attributes: Attributes = { [names.task]: task, [names.messageId]: id, [names.attempt]: attempt }
    if (bodySize !== undefined) attributes[names.bodySize] = bodySize
    const { parent, links } = this.#ancestry(active, event.trace === undefined ? undefined : readTrace(event.trace))
    const span = startSpan(this.#telemetry, 'process', queue, attributes, parent, links)
    this.#traced.set(event, { span, startedAt: systemClock.monotonic() })
    const own = span.spanContext()
    if (isSpanContextValid(own)) {
      const { traceId, spanId } = own
      event.logFields = event.logFields === undefined ? { traceId, spanId } : { ...event.logFields, traceId, spanId }
    }
    event.around = inside(withSpan(active, span), event.around)
  })

  readonly end = guarded((event: AttemptEvent): void => {
    const traced = this.#traced.get(event)
    if (traced === undefined) return
    this.#traced.delete(event)
    const { span, startedAt } = traced
    const failed = event.result === undefined || event.result === 'retry'
    if (span.isRecording()) {
      if (event.result !== undefined) span.setAttribute(names.result, event.result)
      if (event.status !== undefined) span.setAttribute(names.status, event.status)
      if (event.exhausted) span.setAttribute(names.exhausted, true)
      if (failed) fail(span, event.error)
    }
    span.end()
    const { measurements } = this.#telemetry
    if (measurements === undefined) return
    const attributes = metricAttributes(this.#telemetry, 'process', event.queue)
    if (failed) attributes[names.errorType] = errorType(event.error)
    measurements.processEnded((systemClock.monotonic() - startedAt) / 1000, attributes)
  })

  /** Attempts that have begun are not ended any more. */
  clear (): void {
    this.#traced.clear()
  }

  /** What the span of an attempt is a child of, and what it links to. */
  #ancestry (active: Context, producer: SpanContext | undefined): { parent: Context, links?: Link[] } {
    if (producer === undefined) return { parent: active }
    if (this.#telemetry.config.propagation === 'link') return { parent: active, links: [{ context: producer }] }
    const server = trace.getSpanContext(active)
    // The server's span is a descendant of the producer's already, unless a proxy has replaced `traceparent`.
    if (server?.traceId === producer.traceId) return { parent: active }
    const parent = trace.setSpanContext(active, producer)
    return server === undefined ? { parent } : { parent, links: [{ context: server }] }
  }
}
