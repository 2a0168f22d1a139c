import { createRequire } from 'node:module'
import type { FastifyOtelInstrumentation as FastifyOtel } from '@fastify/otel'
import { context, propagation, trace } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { watchAttempts } from '../support/app.js'
import { startSdk } from './sdk.js'

const require = createRequire(import.meta.url)
const tasks = defineTasks({ work: { payload: Type.Object({}) } })
const baggage = propagation.createBaggage({ tenant: { value: 'of the start' } })

type Sdk = ReturnType<typeof startSdk>

/** Starts an app within a span, and with baggage, that stay active for all that the start leaves behind. */
async function startInSpan (t: Test, sdk: Sdk, prepare: (app: FastifyInstance) => Promise<unknown>) {
  const attempts = watchAttempts(t)
  const seen: Array<{ span: string | undefined, baggage: unknown }> = []
  const app = Fastify()
  t.teardown(() => app.close())
  const startup = sdk.tracer.startSpan('startup')
  await context.with(propagation.setBaggage(trace.setSpan(context.active(), startup), baggage), async () => {
    await prepare(app)
    await app.register(cloudTasks, {
      tasks,
      transport: 'local',
      auth: false,
      queues: { default: { retryConfig: { maxAttempts: 2, minBackoffSeconds: 0.001 } } },
      handlers: {
        work (_, task) {
          seen.push({ span: trace.getActiveSpan()?.spanContext().spanId, baggage: propagation.getActiveBaggage() })
          if (task.attempt === 1) throw new Error('no luck')
        }
      }
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
  })
  return { app, attempts, seen, startup: startup.spanContext(), enqueue: tasksOf(app, tasks).enqueue }
}

for (const when of ['before', 'after'] as const) {
  t.test(`attempts are no children of a span that was active at registration, instrumented ${when} it`, async t => {
    const sdk = startSdk(t)
    if (when === 'after') sdk.instrumentation.disable()
    const { attempts, seen, startup, enqueue } = await startInSpan(t, sdk, async () => {})
    sdk.instrumentation.enable()
    await enqueue('work', {})
    await attempts.ended(2)
    const processed = sdk.spans().filter(({ kind }) => kind === 'CONSUMER')
    t.strictSame(processed.map(({ parent }) => parent), [undefined, undefined], 'the retry by a timer as well')
    t.ok(processed.every(({ traceId }) => traceId !== startup.traceId))
    t.strictSame(seen, processed.map(({ spanId }) => ({ span: spanId, baggage: undefined })))
  })
}

t.test('nor are the spans of @fastify/otel, which the attempts are children of', async t => {
  const sdk = startSdk(t)
  const { FastifyOtelInstrumentation } = require('@fastify/otel') as { FastifyOtelInstrumentation: typeof FastifyOtel }
  const fastifyOtel = new FastifyOtelInstrumentation()
  t.teardown(registerInstrumentations({ instrumentations: [fastifyOtel] }))
  const { attempts, startup, enqueue } = await startInSpan(t, sdk, async app => {
    await app.register(fastifyOtel.plugin())
  })
  await enqueue('work', {})
  const [first] = await attempts.ended(1)
  t.ok(first)
  const [attempt] = sdk.spans().filter(({ kind }) => kind === 'CONSUMER')
  t.ok(attempt!.parent)
  t.not(attempt!.traceId, startup.traceId)
})

t.test('nor are attempts over HTTP children of a span that was active at listen', async t => {
  const sdk = startSdk(t)
  const { app, startup } = await startInSpan(t, sdk, async () => {})
  const { port } = app.server.address() as { port: number }
  const answer = await fetch(`http://127.0.0.1:${port}/tasks/work`, { method: 'POST', body: '{}' })
  t.equal(answer.status, 500)
  const [attempt] = sdk.spans().filter(({ kind }) => kind === 'CONSUMER')
  t.equal(attempt!.parent, undefined)
  t.not(attempt!.traceId, startup.traceId)
})

t.test('an attempt stays a child of the span of its own request, in an app that was started in a span', async t => {
  const sdk = startSdk(t)
  const request = sdk.tracer.startSpan('request')
  const { app } = await startInSpan(t, sdk, async app => {
    app.addHook('onRequest', (_request, _reply, done) => { context.with(trace.setSpan(context.active(), request), done) })
  })
  const { port } = app.server.address() as { port: number }
  await (await fetch(`http://127.0.0.1:${port}/tasks/work`, { method: 'POST', body: '{}' })).text()
  const [attempt] = sdk.spans().filter(({ kind }) => kind === 'CONSUMER')
  t.equal(attempt!.parent, request.spanContext().spanId)
})
