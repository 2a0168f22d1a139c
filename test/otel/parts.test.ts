import { readFileSync } from 'node:fs'
import {
  context, createContextKey, createTraceState, diag, INVALID_SPAN_CONTEXT, propagation, ROOT_CONTEXT, trace, type Attributes
} from '@opentelemetry/api'
import t, { type Test } from 'tap'
import {
  attemptChannel, countsChannel, enqueueChannel, newEnqueueEvent, scopeChannel, type QueueCountsEvent, type ScopeEvent
} from '../../lib/events.js'
import { inside, untraced, withSpan } from '../../lib/otel/active-context.js'
import { CloudTasksInstrumentation } from '../../lib/otel/instrumentation.js'
import { Measurements } from '../../lib/otel/measurements.js'
import { errorType, fail, guarded } from '../../lib/otel/telemetry.js'
import { printTrace, readTrace } from '../../lib/otel/trace-header.js'

/** What is reported to OpenTelemetry's `diag` during a test. */
function watchReports (t: Test): unknown[] {
  const reports: unknown[] = []
  diag.setLogger({ error: (...values) => { reports.push(values.at(-1)) }, warn () {}, info () {}, debug () {}, verbose () {} })
  t.teardown(() => { diag.disable() })
  return reports
}

t.test('a context with a span answers as one that the API made', t => {
  const span = trace.wrapSpanContext({ ...INVALID_SPAN_CONTEXT, traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) })
  const other = trace.wrapSpanContext(INVALID_SPAN_CONTEXT)
  const key = createContextKey('mine')
  const outer = propagation.setBaggage(trace.setSpan(ROOT_CONTEXT.setValue(key, 1), other), propagation.createBaggage())
  for (const made of [withSpan(outer, span), trace.setSpan(outer, span)]) {
    t.equal(trace.getSpan(made), span)
    t.equal(made.getValue(key), 1)
    t.ok(propagation.getBaggage(made))
    t.equal(trace.getSpan(made.setValue(key, 2)), span)
    t.equal(made.setValue(key, 2).getValue(key), 2)
    t.equal(trace.getSpan(trace.setSpan(made, other)), other)
    t.equal(trace.getSpan(trace.deleteSpan(made)), undefined)
    t.equal(made.deleteValue(key).getValue(key), undefined)
  }
  t.not(withSpan(outer, span).constructor, trace.setSpan(outer, span).constructor, 'it is not made by the API')
  t.end()
})

t.test('work is done once in its context, whatever the context manager does', async t => {
  const reports = watchReports(t)
  const { with: original } = context
  t.teardown(() => { context.with = original })
  const fault = new Error('broken manager')
  for (const [what, manager, reported] of [
    ['calls it once', (begin: () => void) => { begin() }, []],
    ['calls it twice', (begin: () => void) => { begin(); begin() }, []],
    ['never calls it', () => {}, []],
    ['throws before', () => { throw fault }, [fault]],
    ['throws after', (begin: () => void) => { begin(); throw fault }, []]
  ] as const) {
    const active: unknown[] = []
    context.with = ((given: unknown, begin: () => void) => { active.push(given); manager(begin) }) as never
    let done = 0
    const outer = (work: () => unknown): unknown => { done += 10; return work() }
    t.equal(await inside(ROOT_CONTEXT, undefined)(async () => ++done), 1, what)
    t.equal(await inside(ROOT_CONTEXT, outer as never)(async () => ++done), 12, what)
    t.equal(untraced(undefined)(() => ++done), 13, what)
    t.equal(untraced(outer as never)(() => ++done), 24, what)
    t.ok(active.length === 4 && active.every(given => given === ROOT_CONTEXT))
    t.strictSame([...new Set(reports.splice(0))], reported, what)
  }
})

t.test('work that throws is done once, and its error is not one of the instrumentation', async t => {
  const reports = watchReports(t)
  const fault = new Error('of the work')
  let done = 0
  const work = (): never => { done++; throw fault }
  t.throws(() => untraced(undefined)(work), fault)
  t.throws(() => inside(ROOT_CONTEXT, undefined)(work), fault)
  t.strictSame([done, reports], [2, []])
})

t.test('an error of a subscriber is reported, and what it returned is undefined', async t => {
  const reports = watchReports(t)
  const fault = new Error('no')
  t.equal(guarded((n: number) => n + 1)(1), 2)
  t.equal(guarded(() => { throw fault })(1), undefined)
  t.strictSame(reports, [fault])
  diag.setLogger({ error () { throw fault }, warn () {}, info () {}, debug () {}, verbose () {} }, { suppressOverrideMessage: true })
  t.equal(guarded(() => { throw fault })(1), undefined, 'also where the logger throws')
})

t.test('the type of an error is its code, or else its class, and never a message', async t => {
  const coded = (code: unknown, name = 'TypeError') => Object.assign(new Error('secret'), { code, name })
  for (const [error, type] of [
    [new RangeError('secret'), 'RangeError'],
    [coded('FST_TASKS_CLOSING'), 'FST_TASKS_CLOSING'],
    [coded(5), 'TypeError'],
    [coded('no code'), 'TypeError'],
    [coded('E-1'), 'TypeError'],
    [coded(''), 'TypeError'],
    [coded('E'.repeat(100)), 'E'.repeat(100)],
    [coded('E'.repeat(101)), 'TypeError'],
    [coded(undefined, 'of a user'), '_OTHER'],
    ['secret', '_OTHER'],
    [{ code: 'E' }, '_OTHER'],
    [undefined, '_OTHER']
  ]) t.equal(errorType(error), type)
})

t.test('a failed span has the type of the error, and its message and stack only where it is an Error', async t => {
  const calls: unknown[][] = []
  const span = new Proxy({}, { get: (_, name) => (...values: unknown[]) => { calls.push([name, ...values]) } })
  const error = new RangeError('no luck')
  fail(span as never, error)
  fail(span as never, 'secret')
  t.strictSame(calls, [
    ['setAttribute', 'error.type', 'RangeError'], ['setStatus', { code: 2, message: 'no luck' }], ['recordException', error],
    ['setAttribute', 'error.type', '_OTHER'], ['setStatus', { code: 2 }]
  ])
})

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'
const PARENT = 'fastify-cloud-tasks-traceparent'
const STATE = 'fastify-cloud-tasks-tracestate'

t.test('a task carries its span in headers of its own, and in those of W3C only as a parent', async t => {
  const span = { traceId, spanId, traceFlags: 1 }
  const parent = `00-${traceId}-${spanId}-01`
  t.strictSame(printTrace(span, false), { [PARENT]: parent })
  t.strictSame(printTrace(span, true), { [PARENT]: parent, traceparent: parent })
  for (const [flags, printed] of [[0, '00'], [2, '00'], [3, '01']] as const) {
    t.equal(printTrace({ ...span, traceFlags: flags }, false)?.[PARENT], `00-${traceId}-${spanId}-${printed}`)
  }
  const traceState = createTraceState('a=1,b=2')
  t.strictSame(printTrace({ ...span, traceState }, false), { [PARENT]: parent, [STATE]: 'a=1,b=2' })
  t.strictSame(printTrace({ ...span, traceState }, true), {
    [PARENT]: parent, traceparent: parent, [STATE]: 'a=1,b=2', tracestate: 'a=1,b=2'
  })
  for (const [state, isSent] of [['x'.repeat(512), true], ['x'.repeat(513), false], ['', false], ['ä', false], ['a\n', false]] as const) {
    const headers = printTrace({ ...span, traceState: { serialize: () => state } as never }, true)!
    t.strictSame([STATE in headers, 'tracestate' in headers], [isSent, isSent])
  }
  t.equal(printTrace(INVALID_SPAN_CONTEXT, true), undefined)
})

t.test('the span of a task is read as it was printed, and nothing else is', async t => {
  const good = `00-${traceId}-${spanId}-01`
  t.strictSame(readTrace({ parent: good, state: undefined }), { traceId, spanId, traceFlags: 1, isRemote: true })
  t.equal(readTrace({ parent: `${good.slice(0, -1)}0`, state: undefined })?.traceFlags, 0)
  t.equal(readTrace({ parent: good, state: 'a=1' })?.traceState?.get('a'), '1')
  for (const state of ['', 'x'.repeat(513), 'a=ä']) t.equal(readTrace({ parent: good, state })?.traceState, undefined)
  for (const parent of [
    '', `x${good}`, `${good}x`, ` ${good.slice(1)}`, good.toUpperCase(), `01${good.slice(2)}`, `${good.slice(0, -1)}2`,
    `${good.slice(0, -2)}11`, good.replace(traceId, '0'.repeat(32)), good.replace(spanId, '0'.repeat(16)), good.replaceAll('-', '_')
  ]) t.equal(readTrace({ parent, state: undefined }), undefined, parent)
})

/** Measurements with a meter that only records. */
function measure () {
  const created: Record<string, object> = {}
  const recorded: unknown[][] = []
  const callbacks = new Set<(result: object) => void>()
  const create = (name: string, options: object): object => {
    created[name] = options
    const record = (...values: unknown[]): void => { recorded.push([name, ...values]) }
    return { name, add: record, record }
  }
  const meter = {
    createCounter: create,
    createHistogram: create,
    createObservableUpDownCounter: create,
    createObservableGauge: create,
    addBatchObservableCallback: (callback: never, { length }: unknown[]) => { if (length === 3) callbacks.add(callback) },
    removeBatchObservableCallback: (callback: never, { length }: unknown[]) => { if (length === 3) callbacks.delete(callback) }
  }
  const measurements = new Measurements(meter as never, queue => ({ queue }))
  const observed = (): unknown[][] => {
    const values: unknown[][] = []
    for (const callback of callbacks) {
      callback({ observe: ({ name }: { name: string }, value: number, { queue }: Attributes) => { values.push([name, queue, value]) } })
    }
    return values
  }
  return { measurements, created, recorded, observed, callbacks }
}

t.test('instruments have the units and the boundaries of the conventions, longer for attempts', async t => {
  const { created } = measure()
  t.strictSame(Object.entries(created).map(([name, options]) => [name, (options as { unit: string }).unit]), [
    ['messaging.client.sent.messages', '{message}'],
    ['messaging.client.operation.duration', 's'],
    ['messaging.client.consumed.messages', '{message}'],
    ['messaging.process.duration', 's'],
    ['fastify_cloud_tasks.queue.waiting', '{task}'],
    ['fastify_cloud_tasks.queue.running', '{task}'],
    ['fastify_cloud_tasks.queue.oldest_due_age', 's']
  ])
  const seconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
  t.hasStrict(created['messaging.client.operation.duration'], { advice: { explicitBucketBoundaries: seconds } })
  t.hasStrict(created['messaging.process.duration'], { advice: { explicitBucketBoundaries: [...seconds, 30, 60, 300, 600, 1800] } })
})

t.test('sends and attempts are counted with their durations, and no send of nothing', async t => {
  const { measurements, recorded } = measure()
  const attributes = { a: 1 }
  measurements.sent(0, attributes)
  measurements.sent(2, attributes)
  measurements.sendEnded(0.5, attributes)
  measurements.processEnded(7, attributes)
  t.strictSame(recorded, [
    ['messaging.client.sent.messages', 2, attributes],
    ['messaging.client.operation.duration', 0.5, attributes],
    ['messaging.client.consumed.messages', 1, attributes],
    ['messaging.process.duration', 7, attributes]
  ])
})

t.test('queues of one name in several apps are observed as one: the sum of their tasks, and the oldest', async t => {
  const { measurements, observed, callbacks } = measure()
  const answer = (event: unknown): void => {
    const { add } = event as QueueCountsEvent
    add('jobs', { waiting: 2, running: 1, oldestDueSeconds: 9 })
    add('mail', { waiting: 0, running: 0, oldestDueSeconds: 0 })
    add('jobs', { waiting: 5, running: 3, oldestDueSeconds: 4 })
  }
  countsChannel.subscribe(answer)
  t.teardown(() => { countsChannel.unsubscribe(answer) })
  t.strictSame(observed(), [
    ['fastify_cloud_tasks.queue.waiting', 'jobs', 7], ['fastify_cloud_tasks.queue.running', 'jobs', 4],
    ['fastify_cloud_tasks.queue.oldest_due_age', 'jobs', 9],
    ['fastify_cloud_tasks.queue.waiting', 'mail', 0], ['fastify_cloud_tasks.queue.running', 'mail', 0],
    ['fastify_cloud_tasks.queue.oldest_due_age', 'mail', 0]
  ])
  measurements.close()
  t.equal(callbacks.size, 0)
})

t.test('an instrumentation subscribes and measures only while it is enabled, with its last provider', async t => {
  const meters: Array<{ readonly made: unknown[], open: boolean }> = []
  const provider = (name: string) => ({
    getMeter (...made: unknown[]) {
      const entry = { made: [name, ...made], open: false }
      meters.push(entry)
      return {
        createCounter () {},
        createHistogram () {},
        createObservableUpDownCounter () {},
        createObservableGauge () {},
        addBatchObservableCallback () { entry.open = true },
        removeBatchObservableCallback () { entry.open = false }
      }
    }
  }) as never
  const { name, version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  const instrumentation = new CloudTasksInstrumentation({ enabled: false })
  t.strictSame([instrumentation.instrumentationName, instrumentation.instrumentationVersion], [name, version])
  const subscribed = () => [enqueueChannel.start, enqueueChannel.asyncEnd, attemptChannel.start, attemptChannel.asyncEnd, scopeChannel]
    .map(({ hasSubscribers }) => hasSubscribers)
  t.strictSame(instrumentation.getConfig(), { enabled: false, propagation: 'link', deprecatedSystemAttribute: false })
  instrumentation.setMeterProvider(provider('first'))
  t.strictSame([subscribed(), meters], [Array(5).fill(false), []])
  instrumentation.enable()
  instrumentation.enable()
  t.strictSame([subscribed(), meters], [Array(5).fill(true), [{ made: ['first', name, version], open: true }]])
  instrumentation.setMeterProvider(provider('second'))
  t.strictSame(meters.map(({ made, open }) => [made[0], open]), [['first', false], ['second', true]])
  instrumentation.setConfig({ propagation: 'parent', deprecatedSystemAttribute: true, enabled: false })
  t.strictSame(instrumentation.getConfig(), { enabled: true, propagation: 'parent', deprecatedSystemAttribute: true })
  t.throws(() => { instrumentation.setConfig({ propagation: 'none' as never }) }, { code: 'FST_TASKS_INVALID_OPTION' })
  instrumentation.disable()
  instrumentation.disable()
  t.strictSame([subscribed(), meters.some(({ open }) => open)], [Array(5).fill(false), false])
  const enabled = new CloudTasksInstrumentation()
  t.strictSame([enabled.getConfig().enabled, subscribed()], [true, Array(5).fill(true)])
  enabled.disable()
})

t.test('spans are made by the provider that was set last, with the settings of the time', async t => {
  const made: unknown[] = []
  const provider = (name: string) => ({
    getTracer: (...values: unknown[]) => ({
      startSpan (_: string, { attributes }: { attributes: Attributes }) {
        made.push([name, values[0], attributes['messaging.system']])
        return trace.wrapSpanContext({ traceId, spanId, traceFlags: 1 })
      }
    })
  }) as never
  const instrumentation = new CloudTasksInstrumentation()
  t.teardown(() => { instrumentation.disable() })
  for (const deprecatedSystemAttribute of [false, true]) {
    instrumentation.setTracerProvider(provider(String(deprecatedSystemAttribute)))
    instrumentation.setConfig({ deprecatedSystemAttribute })
    const event = newEnqueueEvent('work', 'jobs', false)
    await enqueueChannel.tracePromise(async () => {}, event)
    t.strictSame(Object.keys(event.headersOf?.({ queue: 'jobs', id: '7', bodySize: 2 }) ?? {}), [PARENT])
  }
  t.strictSame(made, [['false', 'fastify-cloud-tasks', undefined], ['true', 'fastify-cloud-tasks', 'gcp.cloud_tasks']])
  const scope: ScopeEvent = { around: undefined }
  scopeChannel.publish(scope)
  t.equal(scope.around!(() => 5), 5)
})
