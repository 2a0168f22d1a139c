import { readFileSync } from 'node:fs'
import {
  context, diag, isSpanContextValid, metrics, SpanKind, SpanStatusCode, trace,
  type Attributes, type Context, type Link, type MeterProvider, type Span, type SpanContext, type Tracer, type TracerProvider
} from '@opentelemetry/api'
import { boolean, oneOf, readOptions, type Declared } from '../checks.js'
import { systemClock } from '../clock/clock.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import { attemptChannel, enqueueChannel, type Around, type AttemptEvent, type EnqueueEvent, type SentTask } from '../events.js'
import { Measurements } from './measurements.js'
import { attributes as names, SYSTEM } from './names.js'
import { printTrace, readTrace } from './trace-header.js'

/** Unknown keys and invalid values are refused. */
export interface CloudTasksInstrumentationConfig {
  /** Whether it subscribes when it is created; `registerInstrumentations` enables it in any case. @default true */
  readonly enabled?: boolean
  /**
   * How the span of an attempt refers to the one that enqueued the task: by a link, so that each attempt is a trace of its own, or as
   * its child, in one trace that lasts until the last attempt. With `parent` tasks carry `traceparent` as well. @default 'link'
   */
  readonly propagation?: 'link' | 'parent'
  /** Whether spans and metrics also have `messaging.system`, which the conventions have deprecated. @default false */
  readonly deprecatedSystemAttribute?: boolean
}

const configOptions = {
  enabled: boolean({ default: true }),
  propagation: oneOf(['link', 'parent'], { default: 'link' }),
  deprecatedSystemAttribute: boolean({ default: false })
} satisfies Declared<CloudTasksInstrumentationConfig>

/** The span of an event between its start and its end. */
interface Traced {
  readonly span: Span
  readonly startedAt: number
}

/**
 * Spans and metrics of `enqueue` and of attempts, for `registerInstrumentations` or the `instrumentations` of NodeSDK. It subscribes to
 * this package's diagnostics channels and patches nothing, so it may be made before or after the app. Errors of its own, and of the SDK
 * below it, go to OpenTelemetry's `diag` and change nothing else.
 */
export class CloudTasksInstrumentation {
  readonly instrumentationName = 'fastify-cloud-tasks'
  readonly instrumentationVersion: string
  #config: Required<CloudTasksInstrumentationConfig>
  #enabled = false
  #tracer: Tracer
  #meterProvider: MeterProvider
  #measurements: Measurements | undefined
  readonly #traced = new WeakMap<object, Traced>()
  readonly #enqueueSubscribers = {
    start: this.#safely((event: EnqueueEvent) => { this.#enqueueStarted(event) }),
    asyncEnd: this.#safely((event: EnqueueEvent) => { this.#enqueueEnded(event) })
  }

  readonly #attemptSubscribers = {
    start: this.#safely((event: AttemptEvent) => { this.#attemptStarted(event) }),
    asyncEnd: this.#safely((event: AttemptEvent) => { this.#attemptEnded(event) })
  }

  /** @throws FST_TASKS_INVALID_OPTION */
  constructor (config: CloudTasksInstrumentationConfig = {}) {
    this.instrumentationVersion = packageVersion()
    this.#config = readConfig(config)
    this.#tracer = trace.getTracer(this.instrumentationName, this.instrumentationVersion)
    this.#meterProvider = metrics.getMeterProvider()
    if (this.#config.enabled) this.enable()
  }

  enable (): void {
    if (this.#enabled) return
    this.#enabled = true
    this.#measure()
    enqueueChannel.subscribe(this.#enqueueSubscribers as Parameters<typeof enqueueChannel.subscribe>[0])
    attemptChannel.subscribe(this.#attemptSubscribers as Parameters<typeof attemptChannel.subscribe>[0])
  }

  /** Calls and attempts that have begun are not ended any more. */
  disable (): void {
    if (!this.#enabled) return
    this.#enabled = false
    enqueueChannel.unsubscribe(this.#enqueueSubscribers as Parameters<typeof enqueueChannel.subscribe>[0])
    attemptChannel.unsubscribe(this.#attemptSubscribers as Parameters<typeof attemptChannel.subscribe>[0])
    this.#measurements?.close()
    this.#measurements = undefined
  }

  setTracerProvider (provider: TracerProvider): void {
    this.#tracer = provider.getTracer(this.instrumentationName, this.instrumentationVersion)
  }

  setMeterProvider (provider: MeterProvider): void {
    this.#meterProvider = provider
    if (this.#enabled) this.#measure()
  }

  getConfig (): CloudTasksInstrumentationConfig {
    // What `registerInstrumentations` decides by whether to enable it.
    return { ...this.#config, enabled: this.#enabled }
  }

  /** @throws FST_TASKS_INVALID_OPTION */
  setConfig (config: CloudTasksInstrumentationConfig): void {
    this.#config = readConfig(config)
  }

  #measure (): void {
    this.#measurements?.close()
    const meter = this.#meterProvider.getMeter(this.instrumentationName, this.instrumentationVersion)
    this.#measurements = new Measurements(meter, queue => this.#systemOf({ [names.destination]: queue }))
  }

  #enqueueStarted (event: EnqueueEvent): void {
    const parent = context.active()
    const { batch, queue } = event
    // A batch is no message: each of its messages has a span of its own to refer to.
    const kind = batch ? SpanKind.CLIENT : SpanKind.PRODUCER
    const span = this.#startSpan('send', kind, queue, { [names.task]: event.task }, parent)
    this.#traced.set(event, { span, startedAt: systemClock.monotonic() })
    const headersOf = this.#safely((task: SentTask) => batch ? this.#created(event, span, task, parent) : this.#sending(span, task))
    const before = event.headersOf
    event.headersOf = before === undefined ? headersOf : task => ({ ...before(task), ...headersOf(task) })
    event.around = inside(trace.setSpan(parent, span), event.around)
  }

  #sending (span: Span, { id, bodySize }: SentTask): Record<string, string> | undefined {
    if (span.isRecording()) {
      span.setAttribute(names.bodySize, bodySize)
      if (id !== undefined) span.setAttribute(names.messageId, id)
    }
    return printTrace(span.spanContext(), this.#config.propagation === 'parent')
  }

  #created (event: EnqueueEvent, batch: Span, { queue, id, bodySize }: SentTask, parent: Context): Record<string, string> | undefined {
    const message: Attributes = id === undefined ? {} : { [names.messageId]: id }
    const attributes = { [names.task]: event.task, [names.bodySize]: bodySize, ...message }
    const span = this.#startSpan('create', SpanKind.PRODUCER, queue, attributes, parent)
    span.end()
    const created = span.spanContext()
    if (isSpanContextValid(created)) batch.addLink({ context: created, attributes: message })
    return printTrace(created, this.#config.propagation === 'parent')
  }

  #enqueueEnded (event: EnqueueEvent): void {
    const traced = this.#traced.get(event)
    if (traced === undefined) return
    const { span, startedAt } = traced
    const error = event.error ?? event.failures[0]
    if (span.isRecording()) {
      if (event.batch) span.setAttribute(names.batchSize, event.sent)
      else if (event.id !== undefined) span.setAttribute(names.messageId, event.id)
      if (event.duplicate) span.setAttribute(names.duplicate, true)
      if (error !== undefined) fail(span, error)
    }
    span.end()
    const attributes = this.#metricAttributes('send', event.queue)
    const seconds = (systemClock.monotonic() - startedAt) / 1000
    this.#measurements?.sendEnded(seconds, error === undefined ? attributes : { ...attributes, [names.errorType]: errorType(error) })
    this.#countSent(event, attributes)
  }

  /** Messages that were handed to the transport, those that it refused by their error. */
  #countSent (event: EnqueueEvent, attributes: Attributes): void {
    let failed = 0
    for (const error of event.batch ? event.failures : [event.error]) {
      if (event.sent === 0 || error === undefined || isRefusal(error)) continue
      failed++
      this.#measurements?.sent(1, { ...attributes, [names.errorType]: errorType(error) })
    }
    this.#measurements?.sent(event.sent - failed, attributes)
  }

  #attemptStarted (event: AttemptEvent): void {
    const active = context.active()
    const { task, id, queue, attempt, bodySize } = event
    const attributes: Attributes = { [names.task]: task, [names.messageId]: id, [names.attempt]: attempt }
    if (bodySize !== undefined) attributes[names.bodySize] = bodySize
    const { parent, links } = this.#ancestry(active, event.trace === undefined ? undefined : readTrace(event.trace))
    const span = this.#startSpan('process', SpanKind.CONSUMER, queue, attributes, parent, links)
    this.#traced.set(event, { span, startedAt: systemClock.monotonic() })
    const { traceId, spanId } = span.spanContext()
    if (isSpanContextValid(span.spanContext())) event.logFields = { ...event.logFields, traceId, spanId }
    event.around = inside(trace.setSpan(active, span), event.around)
  }

  /** What the span of an attempt is a child of, and what it links to. */
  #ancestry (active: Context, producer: SpanContext | undefined): { parent: Context, links?: Link[] } {
    if (producer === undefined) return { parent: active }
    if (this.#config.propagation === 'link') return { parent: active, links: [{ context: producer }] }
    const server = trace.getSpanContext(active)
    // The server's span is a descendant of the producer's already, unless a proxy has replaced `traceparent`.
    if (server?.traceId === producer.traceId) return { parent: active }
    const parent = trace.setSpanContext(active, producer)
    return server === undefined ? { parent } : { parent, links: [{ context: server }] }
  }

  #attemptEnded (event: AttemptEvent): void {
    const traced = this.#traced.get(event)
    if (traced === undefined) return
    const { span, startedAt } = traced
    const failed = event.result === undefined || event.result === 'retry'
    if (span.isRecording()) {
      if (event.result !== undefined) span.setAttribute(names.result, event.result)
      if (event.status !== undefined) span.setAttribute(names.status, event.status)
      if (event.exhausted) span.setAttribute(names.exhausted, true)
      if (failed) fail(span, event.error)
    }
    span.end()
    const attributes = this.#metricAttributes('process', event.queue)
    const seconds = (systemClock.monotonic() - startedAt) / 1000
    this.#measurements?.processEnded(seconds, failed ? { ...attributes, [names.errorType]: errorType(event.error) } : attributes)
  }

  #startSpan (
    name: 'send' | 'create' | 'process', kind: SpanKind, queue: string, attributes: Attributes, parent: Context, links: Link[] = []
  ): Span {
    attributes[names.operationName] = name
    attributes[names.operationType] = name
    attributes[names.destination] = queue
    return this.#tracer.startSpan(`${name} ${queue}`, { kind, links, attributes: this.#systemOf(attributes) }, parent)
  }

  #metricAttributes (name: 'send' | 'process', queue: string): Attributes {
    return this.#systemOf({ [names.operationName]: name, [names.destination]: queue })
  }

  #systemOf (attributes: Attributes): Attributes {
    attributes[names.system] = SYSTEM
    if (this.#config.deprecatedSystemAttribute) attributes[names.deprecatedSystem] = SYSTEM
    return attributes
  }

  /** Undefined is returned in place of an error. */
  #safely<A extends unknown[], R> (call: (...values: A) => R): (...values: A) => R | undefined {
    return (...values) => {
      try {
        return call(...values)
      } catch (error) {
        report(error)
        return undefined
      }
    }
  }
}

/** Does the work with `active` as the active context. The work is done once, whatever the context manager does. */
function inside (active: Context, outer: Around | undefined): Around {
  return <T>(work: () => Promise<T>) => {
    let begun: Promise<T> | undefined
    const begin = (): Promise<T> => {
      begun ??= outer === undefined ? work() : outer(work)
      return begun
    }
    try {
      context.with(active, begin)
    } catch (error) {
      report(error)
    }
    return begin()
  }
}

function fail (span: Span, error: unknown): void {
  const message = error instanceof Error ? error.message : undefined
  span.setAttribute(names.errorType, errorType(error))
  span.setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? undefined : { message }) })
  if (error instanceof Error) span.recordException(error)
}

/** A code or a class, so that there are few of them; never a message. */
function errorType (error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER'
  const { code, name } = error as Error & { readonly code?: unknown }
  for (const type of [code, name]) if (typeof type === 'string' && /^\w{1,100}$/.test(type)) return type
  return '_OTHER'
}

/** Whether a task was refused before it was sent. */
function isRefusal (error: unknown): boolean {
  return REFUSALS.has((error as { readonly code?: unknown } | undefined)?.code)
}

const REFUSALS: ReadonlySet<unknown> = new Set([
  'FST_TASKS_NOT_REGISTERED', 'FST_TASKS_PAYLOAD_NOT_JSON', 'FST_TASKS_INVALID_PAYLOAD', 'FST_TASKS_INVALID_ENQUEUE_OPTION'
])

function report (error: unknown): void {
  try {
    diag.error('fastify-cloud-tasks: the instrumentation met an error', error)
  } catch {
    // A logger that throws leaves nowhere to report to.
  }
}

function readConfig (config: CloudTasksInstrumentationConfig): Required<CloudTasksInstrumentationConfig> {
  return readOptions(configOptions, config, { refuse: problem => new FST_TASKS_INVALID_OPTION(`CloudTasksInstrumentation: ${problem}`) })
}

/** Empty in a bundle, which has no package.json at that place: a version that is not known must not keep an app from starting. */
function packageVersion (): string {
  try {
    return (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string }).version
  } catch {
    return ''
  }
}
