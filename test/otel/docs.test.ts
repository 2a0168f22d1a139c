import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { metrics, SpanKind, type Meter } from '@opentelemetry/api'
import Fastify, { type FastifyInstance } from 'fastify'
import underPressure from '@fastify/under-pressure'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { attemptChannel, countsChannel, enqueueChannel, expiredChannel, scopeChannel } from '../../lib/events.js'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { Measurements } from '../../lib/otel/measurements.js'
import { attributes, metricNames } from '../../lib/otel/names.js'
import { spanKinds } from '../../lib/otel/telemetry.js'
import { handleOf } from '../../lib/plugin-handle.js'

const root = resolve(import.meta.dirname, '../..')
const page = readFileSync(join(root, 'docs/observability.md'), 'utf8')

/** The cells of each row of the table that follows that heading cell. */
function table (heading: string): string[][] {
  const lines = page.slice(page.indexOf(`| ${heading} |`)).split('\n')
  const end = lines.findIndex(line => !line.startsWith('|'))
  return lines.slice(2, end).map(line => line.split('|').slice(1, -1).map(cell => cell.trim()))
}

const code = (cell: string | undefined): string => cell!.replaceAll('`', '')

t.test('the page lists exactly the attributes there are, and a test expects each', async t => {
  const rows = table('attribute').map(([name]) => code(name))
  t.strictSame(rows.toSorted(), Object.values(attributes).toSorted())
  const tests = readFileSync(join(import.meta.dirname, 'spans.test.ts'), 'utf8')
  for (const name of rows) t.ok(tests.includes(`'${name}'`), name)
})

t.test('the page lists exactly the spans there are', async t => {
  const spans = Object.entries(spanKinds).map(([operation, kind]) => `${operation.split(' ')[0]} {queue} ${SpanKind[kind]}`)
  t.strictSame(table('span').map(([name, kind]) => `${code(name)} ${kind}`), spans)
})

t.test('the page lists exactly the metrics there are, with their instruments and units', async t => {
  const made: string[][] = []
  const make = (instrument: string) => (name: string, { unit }: { unit: string }) => {
    made.push([name, instrument, unit])
    return metrics.getMeter('none').createCounter(name)
  }
  const meter = {
    createCounter: make('counter'),
    createHistogram: make('histogram'),
    createObservableUpDownCounter: make('up-down counter'),
    createObservableGauge: make('gauge'),
    addBatchObservableCallback () {}
  }
  t.ok(new Measurements(meter as unknown as Meter, () => ({})))
  t.strictSame(table('metric').map(row => row.slice(0, 3).map(code)), made)
  t.strictSame(made.map(([name]) => name), Object.values(metricNames))
})

t.test('the page lists exactly the channels there are', async t => {
  const rows = table('channel').map(([name]) => code(name!.split(' and ')[0]))
  t.strictSame(rows, [enqueueChannel.start.name, attemptChannel.start.name, scopeChannel.name, expiredChannel.name, countsChannel.name])
  const source = readFileSync(join(root, 'lib/events.ts'), 'utf8')
  t.equal(source.match(/^export const \w+Channel/gm)?.length, rows.length)
  for (const file of readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file === 'events.ts') continue
    t.notMatch(readFileSync(join(root, 'lib', file), 'utf8'), /(?:tracingChannel|[^.\w]channel)\('/, file)
  }
})

t.test('the readiness check of the page fails while tasks are overdue, and lets them run', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const ran: number[] = []
  const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
  await app.register(cloudTasks, { tasks, transport: 'local', handlers: { work: ({ n }) => { ran.push(n) } } })
  const clock = new ManualClock()
  handleOf(app)!.clock.switchTo(clock)
  const example = /healthCheck: async \(\) => (.*)/.exec(page)![1]!
  let healthy = true
  const isHealthy = new Function('app', `return ${example}`) as (app: FastifyInstance) => boolean // eslint-disable-line no-new-func
  await app.register(async web => {
    await web.register(underPressure, { exposeStatusRoute: '/ready', healthCheck: async () => healthy && isHealthy(app) })
  })
  await app.ready()
  t.equal((await app.inject('/ready')).statusCode, 200)
  await app.tasks.pauseQueue()
  await tasksOf(app, tasks).enqueue('work', { n: 1 })
  await clock.advance(61_000)
  t.equal(app.tasks.counts().default!.oldestDueSeconds, 61)
  t.equal(isHealthy(app), true, 'a paused queue is on purpose')
  healthy = false
  t.equal((await app.inject('/ready')).statusCode, 503)
  await app.tasks.resumeQueue()
  for (let round = 0; ran.length < 1 && round < 100; round++) await clock.advance(10)
  t.strictSame(ran, [1])
  t.equal(app.tasks.counts().default!.oldestDueSeconds, 0)
})
