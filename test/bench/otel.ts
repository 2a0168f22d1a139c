/**
 * What the instrumentation for OpenTelemetry costs: CPU of a task through the embedded queue, the whole way, with no subscriber,
 * with an SDK whose sampler records nothing, and with one that records everything, rounds alternating. `BEFORE=DIR` puts another
 * checkout beside it, such as the one before a change.
 */
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { AlwaysOffSampler, AlwaysOnSampler, BasicTracerProvider, type SpanProcessor } from '@opentelemetry/sdk-trace-base'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import * as current from '../../lib/index.js'
import { CloudTasksInstrumentation } from '../../lib/otel/index.js'
import { inFlight, median } from './measure.js'

const COUNT = Number(process.argv[3] ?? 10_000)
const ROUNDS = Number(process.argv[4] ?? 15)
const WIDTH = 64
const payload = { n: 1, text: 'x'.repeat(180) }
const before = process.env.BEFORE === undefined
  ? undefined
  : await import(pathToFileURL(join(resolve(process.env.BEFORE), 'lib/index.ts')).href) as typeof current

type Mode = 'before' | 'none' | 'unsampled' | 'recorded' | 'metrics too'

let handled = 0
let reached = (): void => {}

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
/** Takes spans as an exporter in batches would, and drops them. */
const discard: SpanProcessor = { onStart () {}, onEnd () {}, async forceFlush () {}, async shutdown () {} }

function instrument (mode: Mode): () => void {
  if (mode === 'none' || mode === 'before') return () => {}
  const sampler = mode === 'unsampled' ? new AlwaysOffSampler() : new AlwaysOnSampler()
  const instrumentation = new CloudTasksInstrumentation({ enabled: false })
  instrumentation.setTracerProvider(new BasicTracerProvider({ sampler, spanProcessors: [discard] }))
  if (mode === 'metrics too') instrumentation.setMeterProvider(new MeterProvider())
  instrumentation.enable()
  return () => { instrumentation.disable() }
}

/** Microseconds of CPU a task. */
async function measure (mode: Mode): Promise<number> {
  const { default: cloudTasks, defineTasks, tasksOf } = mode === 'before' ? before! : current
  const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer(), text: Type.String() }) } })
  const uninstrument = instrument(mode)
  const app = Fastify()
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { default: { rateLimits: { maxConcurrentDispatches: WIDTH, maxDispatchesPerSecond: 1_000_000 } } },
    handlers: { work () { if (++handled === COUNT) reached() } }
  })
  await app.ready()
  const { enqueue } = tasksOf(app, tasks)
  handled = 0
  const done = new Promise<void>(resolve => { reached = resolve })
  globalThis.gc?.()
  const start = process.cpuUsage()
  await inFlight(COUNT, WIDTH, async () => await enqueue('work', payload))
  await done
  const { user, system } = process.cpuUsage(start)
  await app.close()
  uninstrument()
  return (user + system) / COUNT
}

const modes: Mode[] = [...(before === undefined ? [] : ['before' as const]), 'none', 'unsampled', 'recorded', 'metrics too']
const results = new Map<Mode, number[]>(modes.map(mode => [mode, []]))
for (const mode of modes) await measure(mode)
for (let round = 0; round < ROUNDS; round++) {
  for (const mode of round % 2 === 0 ? modes : modes.toReversed()) results.get(mode)!.push(await measure(mode))
}
console.log(`${COUNT} tasks, ${WIDTH} in flight, medians of ${ROUNDS} rounds`)
const base = results.get(modes[0]!)!
for (const mode of modes) {
  const cpus = results.get(mode)!
  const ratio = median(cpus.map((cpu, round) => cpu / base[round]!))
  console.log(`  ${mode.padEnd(11)} ${median(cpus).toFixed(1)} us CPU a task, ${ratio.toFixed(3)} of '${modes[0]!}'`)
}
trace.disable()
