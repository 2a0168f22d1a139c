import { context, isSpanContextValid, type Attributes, type Context, type Span } from '@opentelemetry/api'
import { systemClock } from '../clock/clock.js'
import type { EnqueueEvent, SentTask } from '../events.js'
import { inside, withSpan } from './active-context.js'
import { attributes as names } from './names.js'
import { errorType, fail, guarded, metricAttributes, startSpan, type Telemetry, type Traced } from './telemetry.js'
import { printTrace } from './trace-header.js'

/** The spans of calls of `enqueue` and `enqueueMany`, and of the tasks of the latter. */
export class EnqueueSpans {
  readonly #telemetry: Telemetry
  readonly #traced = new Map<EnqueueEvent, Traced>()

  constructor (telemetry: Telemetry) {
    this.#telemetry = telemetry
  }

  readonly start = guarded((event: EnqueueEvent): void => {
    const parent = context.active()
    const { batch, queue, headersOf: before } = event
    const span = startSpan(this.#telemetry, batch ? 'send batch' : 'send', queue, { [names.task]: event.task }, parent)
    this.#traced.set(event, { span, startedAt: systemClock.monotonic() })
    const headersOf = guarded((task: SentTask) => batch ? this.#created(event, span, task, parent) : this.#sending(span, task))
    event.headersOf = before === undefined ? headersOf : task => ({ ...before(task), ...headersOf(task) })
    event.around = inside(withSpan(parent, span), event.around)
  })

  readonly end = guarded((event: EnqueueEvent): void => {
    const traced = this.#traced.get(event)
    if (traced === undefined) return
    this.#traced.delete(event)
    const { span, startedAt } = traced
    const error = event.error ?? event.failures[0]
    if (span.isRecording()) {
      if (event.batch) span.setAttribute(names.batchSize, event.sent)
      else if (event.id !== undefined) span.setAttribute(names.messageId, event.id)
      if (event.duplicate) span.setAttribute(names.duplicate, true)
      if (error !== undefined) fail(span, error)
    }
    span.end()
    const { measurements } = this.#telemetry
    if (measurements === undefined) return
    const attributes = metricAttributes(this.#telemetry, 'send', event.queue)
    const seconds = (systemClock.monotonic() - startedAt) / 1000
    measurements.sendEnded(seconds, error === undefined ? attributes : { ...attributes, [names.errorType]: errorType(error) })
    this.#countSent(event, attributes)
  })

  /** Calls that have begun are not ended any more. */
  clear (): void {
    this.#traced.clear()
  }

  #sending (span: Span, { id, bodySize }: SentTask): Record<string, string> | undefined {
    if (span.isRecording()) {
      span.setAttribute(names.bodySize, bodySize)
      if (id !== undefined) span.setAttribute(names.messageId, id)
    }
    return printTrace(span.spanContext(), this.#telemetry.config.propagation === 'parent')
  }

  #created (event: EnqueueEvent, batch: Span, { queue, id, bodySize }: SentTask, parent: Context): Record<string, string> | undefined {
    const message: Attributes = id === undefined ? {} : { [names.messageId]: id }
    const attributes = { [names.task]: event.task, [names.bodySize]: bodySize, ...message }
    const span = startSpan(this.#telemetry, 'create', queue, attributes, parent)
    span.end()
    const created = span.spanContext()
    if (isSpanContextValid(created)) batch.addLink({ context: created, attributes: message })
    return printTrace(created, this.#telemetry.config.propagation === 'parent')
  }

  /** Messages that were handed to the transport, those that it refused by their error. */
  #countSent ({ batch, sent, failures, error }: EnqueueEvent, attributes: Attributes): void {
    let failed = 0
    for (const failure of batch ? failures : [error]) {
      if (sent === 0 || failure === undefined || isRefusal(failure)) continue
      failed++
      this.#telemetry.measurements?.sent(1, { ...attributes, [names.errorType]: errorType(failure) })
    }
    this.#telemetry.measurements?.sent(sent - failed, attributes)
  }
}

/** Whether a task was refused before it was sent. */
function isRefusal (error: unknown): boolean {
  return REFUSALS.has((error as { readonly code?: unknown } | undefined)?.code)
}

const REFUSALS: ReadonlySet<unknown> = new Set([
  'FST_TASKS_NOT_REGISTERED', 'FST_TASKS_PAYLOAD_NOT_JSON', 'FST_TASKS_INVALID_PAYLOAD', 'FST_TASKS_INVALID_ENQUEUE_OPTION'
])
