import { readFileSync } from 'node:fs'
import { metrics, trace, type MeterProvider, type TracerProvider } from '@opentelemetry/api'
import { boolean, oneOf, readOptions, type Declared } from '../checks.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import { attemptChannel, enqueueChannel, scopeChannel, type ScopeEvent } from '../events.js'
import { untraced } from './active-context.js'
import { AttemptSpans } from './attempt-spans.js'
import { EnqueueSpans } from './enqueue-spans.js'
import { Measurements } from './measurements.js'
import { attributes as names } from './names.js'
import { guarded, withSystem, type Telemetry } from './telemetry.js'

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

type Writable<T> = { -readonly [K in keyof T]: T[K] }

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
  #meterProvider: MeterProvider
  readonly #telemetry: Writable<Telemetry>
  readonly #enqueueSpans: EnqueueSpans
  readonly #attemptSpans: AttemptSpans
  readonly #enqueueSubscribers: Parameters<typeof enqueueChannel.subscribe>[0]
  readonly #attemptSubscribers: Parameters<typeof attemptChannel.subscribe>[0]
  readonly #scopeSubscriber = guarded((event: unknown) => {
    const scope = event as ScopeEvent
    scope.around = untraced(scope.around)
  })

  /** @throws FST_TASKS_INVALID_OPTION */
  constructor (config: CloudTasksInstrumentationConfig = {}) {
    this.instrumentationVersion = packageVersion()
    this.#config = readConfig(config)
    this.#meterProvider = metrics.getMeterProvider()
    const tracer = trace.getTracer(this.instrumentationName, this.instrumentationVersion)
    this.#telemetry = { config: this.#config, tracer, measurements: undefined }
    this.#enqueueSpans = new EnqueueSpans(this.#telemetry)
    this.#attemptSpans = new AttemptSpans(this.#telemetry)
    this.#enqueueSubscribers = subscribers(this.#enqueueSpans)
    this.#attemptSubscribers = subscribers(this.#attemptSpans)
    if (this.#config.enabled) this.enable()
  }

  enable (): void {
    if (this.#enabled) return
    this.#enabled = true
    this.#measure()
    enqueueChannel.subscribe(this.#enqueueSubscribers)
    attemptChannel.subscribe(this.#attemptSubscribers)
    scopeChannel.subscribe(this.#scopeSubscriber)
  }

  /** Calls and attempts that have begun are not ended any more. */
  disable (): void {
    if (!this.#enabled) return
    this.#enabled = false
    enqueueChannel.unsubscribe(this.#enqueueSubscribers)
    attemptChannel.unsubscribe(this.#attemptSubscribers)
    scopeChannel.unsubscribe(this.#scopeSubscriber)
    this.#enqueueSpans.clear()
    this.#attemptSpans.clear()
    this.#telemetry.measurements?.close()
    this.#telemetry.measurements = undefined
  }

  setTracerProvider (provider: TracerProvider): void {
    this.#telemetry.tracer = provider.getTracer(this.instrumentationName, this.instrumentationVersion)
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
    this.#telemetry.config = this.#config = readConfig(config)
  }

  #measure (): void {
    this.#telemetry.measurements?.close()
    const meter = this.#meterProvider.getMeter(this.instrumentationName, this.instrumentationVersion)
    this.#telemetry.measurements = new Measurements(meter, queue => withSystem(this.#config, { [names.destination]: queue }))
  }
}

function subscribers<T> (spans: { start (event: any): void, end (event: any): void }): T {
  return { start: spans.start, asyncEnd: spans.end } as T
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
