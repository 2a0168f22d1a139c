import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { FastifyOtelInstrumentation as FastifyOtel } from '@fastify/otel'
import { trace } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { environment } from '../support/environment.js'
import { watchAttempts } from '../support/app.js'
import { startSdk } from './sdk.js'

const require = createRequire(import.meta.url)
const tasks = defineTasks({ work: { payload: Type.Object({}), queue: 'jobs' } })

/** The emulator in another process, for all tests. Returns its port. */
async function startEmulator (): Promise<number> {
  const child = spawn(process.execPath, ['--import', './test/loader/register.js', join(import.meta.dirname, 'emulator-child.ts')], {
    cwd: join(import.meta.dirname, '../..'),
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['pipe', 'pipe', 'inherit']
  })
  t.teardown(async () => {
    child.stdin.end()
    if (child.exitCode === null) await once(child, 'exit')
  })
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data') as [string]
  return Number(line)
}

const port = startEmulator()

for (const propagation of ['link', 'parent'] as const) {
  t.test(`over the emulator, beside @fastify/otel and instrumentation-http, with propagation '${propagation}'`, async t => {
    const sdk = startSdk(t, { propagation })
    const { FastifyOtelInstrumentation } = require('@fastify/otel') as { FastifyOtelInstrumentation: typeof FastifyOtel }
    const fastifyOtel = new FastifyOtelInstrumentation()
    t.teardown(registerInstrumentations({ instrumentations: [new HttpInstrumentation(), fastifyOtel] }))
    require('node:http')
    environment(t, { CLOUD_TASKS_EMULATOR_HOST: `127.0.0.1:${await port}` })
    const attempts = watchAttempts(t)
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyOtel.plugin())
    const active: Array<string | undefined> = []
    const listening = Fastify()
    await listening.listen({ port: 0, host: '127.0.0.1' })
    const address = listening.server.address() as { port: number }
    await listening.close()
    await app.register(cloudTasks, {
      tasks,
      project: 'demo',
      location: 'us-central1',
      auth: 'emulator',
      target: { type: 'http', url: `http://127.0.0.1:${address.port}`, serviceAccountEmail: 'tasks@demo.iam.gserviceaccount.com' },
      handlers: {
        work (_, task) {
          active.push(trace.getActiveSpan()?.spanContext().spanId)
          if (task.attempt === 1) throw new Error('no luck')
        }
      }
    })
    await app.listen({ port: address.port, host: '127.0.0.1' })
    const { id } = await tasksOf(app, tasks).enqueue('work', {})
    await attempts.ended(2)
    await app.close()

    const spans = sdk.spans()
    const [send, ...more] = spans.filter(({ kind }) => kind === 'PRODUCER')
    t.strictSame(more, [])
    const processed = spans.filter(({ kind }) => kind === 'CONSUMER')
    t.strictSame(processed.map(({ name }) => name), ['process jobs', 'process jobs'])
    t.strictSame(active, processed.map(({ spanId }) => spanId), "the attempt's span is the active one in the handler")
    t.ok(processed.every(({ attributes }) => attributes['messaging.message.id'] === id))
    const servers = spans.filter(({ kind }) => kind === 'SERVER')
    t.equal(servers.length, 2, 'one for each request')
    for (const attempt of processed) {
      const server = servers.find(({ traceId, spanId }) => traceId === attempt.traceId && above(attempt).includes(spanId))
      t.ok(server, "the attempt is below its request's span")
      if (propagation === 'link') {
        t.strictSame(attempt.links, [send!.spanId])
        t.not(attempt.traceId, send!.traceId)
      } else {
        t.strictSame(attempt.links, [])
        t.equal(attempt.traceId, send!.traceId)
        t.ok(above(attempt).includes(send!.spanId))
      }
    }

    /** The spans that a span is below. */
    function above ({ parent }: { readonly parent: string | undefined }): string[] {
      if (parent === undefined) return []
      const span = spans.find(({ spanId }) => spanId === parent)
      return span === undefined ? [parent] : [parent, ...above(span)]
    }
  })
}
