import { context, metrics, propagation, SpanKind, trace, type HrTime } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan, type Sampler
} from '@opentelemetry/sdk-trace-base'
import type { Test } from 'tap'
import { CloudTasksInstrumentation, type CloudTasksInstrumentationConfig } from '../../lib/otel/index.js'

/** A span, as far as tests compare it. */
export interface SeenSpan {
  readonly name: string
  readonly kind: string
  readonly traceId: string
  readonly spanId: string
  readonly parent: string | undefined
  readonly links: string[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly status: { readonly code: number, readonly message?: string }
  readonly ended: HrTime
}

/** An SDK in memory with the instrumentation, registered globally, and gone at the end of the test. */
export function startSdk (t: Test, config: CloudTasksInstrumentationConfig = {}, sampler?: Sampler) {
  const spanExporter = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(spanExporter)],
    ...(sampler === undefined ? undefined : { sampler })
  })
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const contextManager = new AsyncLocalStorageContextManager().enable()
  context.setGlobalContextManager(contextManager)
  trace.setGlobalTracerProvider(tracerProvider)
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  metrics.setGlobalMeterProvider(meterProvider)
  const instrumentation = new CloudTasksInstrumentation(config)
  const unregister = registerInstrumentations({ instrumentations: [instrumentation], tracerProvider, meterProvider })
  t.teardown(async () => {
    unregister()
    await tracerProvider.shutdown()
    await meterProvider.shutdown()
    trace.disable()
    propagation.disable()
    metrics.disable()
    context.disable()
  })
  return {
    instrumentation,
    tracer: tracerProvider.getTracer('test'),
    spans: (): SeenSpan[] => spanExporter.getFinishedSpans().map(seen),
    /** Data points of each metric, by its name. */
    async metrics (): Promise<Record<string, Array<{ attributes: object, value: any }>>> {
      await reader.forceFlush()
      const [scope] = metricExporter.getMetrics().at(-1)?.scopeMetrics ?? []
      return Object.fromEntries((scope?.metrics ?? []).map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints.map(
        ({ attributes, value }) => ({ attributes, value }))]))
    }
  }
}

function seen (span: ReadableSpan): SeenSpan {
  const { name, kind, parentSpanContext, links, attributes, status, endTime } = span
  const { traceId, spanId } = span.spanContext()
  return {
    name,
    kind: SpanKind[kind],
    traceId,
    spanId,
    parent: parentSpanContext?.spanId,
    links: links.map(link => link.context.spanId),
    attributes,
    status,
    ended: endTime
  }
}
