/**
 * A request, the task that it enqueues, and two attempts of it, as OpenTelemetry sees them: each span by the SDK's exporter for the
 * console, and in the end all of them joined by the links of the attempts. `npm run example:traces` runs it.
 */
import assert from 'node:assert/strict'
import { context, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import {
  BasicTracerProvider, ConsoleSpanExporter, InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan
} from '@opentelemetry/sdk-trace-base'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from 'fastify-cloud-tasks'
import { CloudTasksInstrumentation } from 'fastify-cloud-tasks/otel'
import { testTasks } from 'fastify-cloud-tasks/testing'

const kept = new InMemorySpanExporter()
const tracerProvider = new BasicTracerProvider({
  spanProcessors: [new SimpleSpanProcessor(kept), new SimpleSpanProcessor(new ConsoleSpanExporter())]
})
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(tracerProvider)
registerInstrumentations({ instrumentations: [new CloudTasksInstrumentation()] })
const tracer = trace.getTracer('example')

const tasks = defineTasks({ resize: { payload: Type.Object({ photo: Type.String() }) } })
const app = Fastify()
await app.register(cloudTasks, {
  tasks,
  transport: 'local',
  handlers: {
    async resize ({ photo }, task) {
      if (task.attempt === 1) throw new Error(`${photo} is not there yet`)
      tracer.startSpan('read photo').end()
    }
  }
})
const kit = testTasks(app, tasks)

await tracer.startActiveSpan('POST /photos', async request => {
  await tasksOf(app, tasks).enqueue('resize', { photo: 'a.jpg' })
  request.end()
})
await kit.drain({ scheduled: true }) // the retry too, without waiting for its backoff
await app.close()

const spans = kept.getFinishedSpans()
const [send] = spans.filter(span => span.kind === SpanKind.PRODUCER)
const attempts = spans.filter(span => span.kind === SpanKind.CONSUMER)
print(spans.find(span => span.name === 'POST /photos')!, '')
for (const attempt of attempts) print(attempt, `, linked to ${attempt.links[0]?.context.spanId}`)

assert.equal(attempts.length, 2)
for (const attempt of attempts) assert.equal(attempt.links[0]?.context.spanId, send!.spanContext().spanId)
await tracerProvider.shutdown()

/** A span and, indented, those below it. */
function print (span: ReadableSpan, more: string, indent = ''): void {
  const { traceId, spanId } = span.spanContext()
  const result = span.attributes['fastify_cloud_tasks.result']
  const of = indent === '' ? `trace ${traceId}: ` : ''
  console.log(`${indent}${of}${span.name} (${SpanKind[span.kind]} ${spanId})${result === undefined ? '' : `, ${String(result)}`}${more}`)
  for (const child of spans) if (child.parentSpanContext?.spanId === spanId) print(child, '', `${indent}  `)
}
