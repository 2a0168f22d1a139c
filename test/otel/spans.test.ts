import { channel } from 'node:diagnostics_channel'
import { context, diag, trace, TraceFlags, type Attributes } from '@opentelemetry/api'
import { SamplingDecision } from '@opentelemetry/sdk-trace-base'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { taskId } from '../../lib/enqueue.js'
import { defineTasks, tasksOf, type CloudTasksOptions } from '../../lib/index.js'
import { CloudTasksInstrumentation } from '../../lib/otel/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { testTasks } from '../../lib/testing/index.js'
import { gate, start, watchAttempts } from '../support/app.js'
import { startSdk, type SeenSpan } from './sdk.js'

const tasks = defineTasks({ work: { payload: Type.Object({ mode: Type.Optional(Type.String()) }), queue: 'jobs' } })
const quick = { jobs: { retryConfig: { maxAttempts: 2, minBackoffSeconds: 0.001 } } }

async function startApp (t: Test, options: Omit<CloudTasksOptions<typeof tasks>, 'tasks'> = {}) {
  const attempts = watchAttempts(t)
  const started = await start<typeof tasks>(t, {
    tasks,
    queues: quick,
    handlers: {
      async work ({ mode }, task) {
        task.log.info('working')
        if (mode === 'drop') task.drop('unwanted')
        if (mode === 'fail' || (mode === 'fail once' && task.attempt === 1)) throw new TypeError('no luck')
      }
    },
    ...options
  })
  return { ...started, ...tasksOf(started.app, tasks), attempts }
}

const named = (spans: readonly SeenSpan[], name: string): SeenSpan[] => spans.filter(span => span.name === name)
const system = { 'messaging.system.name': 'gcp.cloud_tasks', 'messaging.destination.name': 'jobs' }
const process = { ...system, 'messaging.operation.name': 'process', 'messaging.operation.type': 'process', 'fastify_cloud_tasks.task': 'work' }

t.test('enqueue is a PRODUCER span, and the attempt a CONSUMER span in a trace of its own that links to it', async t => {
  const sdk = startSdk(t)
  const { enqueue, attempts } = await startApp(t)
  const outer = sdk.tracer.startSpan('request')
  const { id } = await context.with(trace.setSpan(context.active(), outer), async () => await enqueue('work', {}))
  await attempts.ended(1)
  const [send, attempt, ...others] = sdk.spans()
  t.strictSame(others, [])
  t.hasStrict(send, { name: 'send jobs', kind: 'PRODUCER', parent: outer.spanContext().spanId, links: [], status: { code: 0 } })
  t.strictSame(send!.attributes, {
    ...system,
    'messaging.operation.name': 'send',
    'messaging.operation.type': 'send',
    'messaging.message.id': id,
    'messaging.message.body.size': 2,
    'fastify_cloud_tasks.task': 'work'
  })
  t.hasStrict(attempt, { name: 'process jobs', kind: 'CONSUMER', parent: undefined, links: [send!.spanId], status: { code: 0 } })
  t.not(attempt!.traceId, send!.traceId)
  t.strictSame(attempt!.attributes, {
    ...process,
    'messaging.message.id': id,
    'messaging.message.body.size': 2,
    'fastify_cloud_tasks.attempt': 1,
    'fastify_cloud_tasks.result': 'done',
    'http.response.status_code': 204
  })
})

t.test("with propagation 'parent' the attempt is a child in the same trace, and tasks carry traceparent", async t => {
  const sdk = startSdk(t, { propagation: 'parent' })
  const headers: unknown[] = []
  const { enqueue, attempts } = await startApp(t, { handlers: { work: (_, task) => { headers.push(task.request?.headers.traceparent) } } })
  await enqueue('work', {})
  await enqueue('work', {}, { headers: { TraceParent: 'of the caller' } })
  await attempts.ended(2)
  const spans = sdk.spans()
  const [first, second] = named(spans, 'send jobs')
  const [attempt] = named(spans, 'process jobs')
  t.hasStrict(attempt, { traceId: first!.traceId, parent: first!.spanId, links: [] })
  t.strictSame(headers, [`00-${first!.traceId}-${first!.spanId}-01`, 'of the caller'])
  t.ok(second)
})

t.test('retries link to the same producer, each a failed span, and the last is exhausted', async t => {
  const sdk = startSdk(t)
  const { app, enqueue, log } = await startApp(t)
  const kit = testTasks(app, tasks)
  await enqueue('work', { mode: 'fail' })
  await kit.drain({ scheduled: true })
  const spans = sdk.spans()
  const [send] = named(spans, 'send jobs')
  const tries = named(spans, 'process jobs')
  t.strictSame(tries.map(({ links }) => links), [[send!.spanId], [send!.spanId]])
  t.not(tries[0]!.traceId, tries[1]!.traceId)
  const failed = {
    'fastify_cloud_tasks.result': 'retry', 'http.response.status_code': 500, 'error.type': 'TypeError', 'fastify_cloud_tasks.attempt': 1
  }
  t.hasStrict(tries[0], { status: { code: 2, message: 'no luck' }, attributes: failed })
  t.notOk('fastify_cloud_tasks.exhausted' in tries[0]!.attributes)
  t.hasStrict(tries[1]!.attributes, { 'fastify_cloud_tasks.attempt': 2, 'fastify_cloud_tasks.exhausted': true })
  const lines = (attempt: number) => log.filter(line => line.task === 'work' && line.attempt === attempt)
  t.ok(lines(1).length >= 2)
  for (const attempt of [1, 2]) {
    const { traceId, spanId } = tries[attempt - 1]!
    for (const line of lines(attempt)) t.hasStrict(line, { traceId, spanId }, line.msg)
  }
})

t.test('a dropped task is no error', async t => {
  const sdk = startSdk(t)
  const { enqueue, attempts } = await startApp(t)
  await enqueue('work', { mode: 'drop' })
  await attempts.ended(1)
  const [attempt] = named(sdk.spans(), 'process jobs')
  t.hasStrict(attempt, { status: { code: 0 }, attributes: { 'fastify_cloud_tasks.result': 'dropped', 'http.response.status_code': 200 } })
})

t.test('an attempt at its deadline has ended, although its handler has not', async t => {
  const sdk = startSdk(t)
  const { app } = await startApp(t, { handlers: { work: async () => await new Promise(() => {}) } })
  const kit = testTasks(app, tasks)
  const attempt = kit.deliver('work', {})
  await kit.advance('10m')
  t.equal((await attempt).status, 504)
  t.hasStrict(sdk.spans()[0], { status: { code: 2 }, attributes: { 'error.type': 'FST_TASKS_DEADLINE_EXCEEDED', 'http.response.status_code': 504 } })
})

t.test('a duplicate is marked, a failed send and a rejected payload are errors', async t => {
  const sdk = startSdk(t)
  const { app, enqueue } = await startApp(t, { handlers: {} })
  await enqueue('work', {}, { id: '7' })
  await enqueue('work', {}, { id: '7' })
  await t.rejects(enqueue('work', { mode: {} } as never))
  await t.rejects(enqueue('work', {}, { queue: 'nowhere' }))
  await app.close()
  await t.rejects(enqueue('work', {}))
  const [first, second, refused, nowhere, closed] = sdk.spans()
  t.notOk('fastify_cloud_tasks.duplicate' in first!.attributes)
  t.hasStrict(second, { status: { code: 0 }, attributes: { 'fastify_cloud_tasks.duplicate': true, 'messaging.message.id': taskId('work', '7') } })
  t.hasStrict(refused, { name: 'send jobs', status: { code: 2 }, attributes: { 'error.type': 'FST_TASKS_INVALID_PAYLOAD' } })
  t.hasStrict(nowhere, { name: 'send nowhere', status: { code: 2 }, attributes: { 'error.type': 'FST_TASKS_QUEUE_NOT_FOUND' } })
  t.hasStrict(closed, { status: { code: 2 }, attributes: { 'error.type': 'FST_TASKS_CLOSING' } })

  const metrics = await sdk.metrics()
  t.strictSame(metrics['messaging.client.sent.messages']!.map(({ attributes, value }) => [attributes, value]), [
    [{ ...system, 'messaging.operation.name': 'send' }, 2],
    [{ ...system, 'messaging.operation.name': 'send', 'messaging.destination.name': 'nowhere', 'error.type': 'FST_TASKS_QUEUE_NOT_FOUND' }, 1],
    [{ ...system, 'messaging.operation.name': 'send', 'error.type': 'FST_TASKS_CLOSING' }, 1]
  ], 'a payload that was refused was not sent')
})

t.test('enqueueMany is a CLIENT span that links to a span of each message, to which the attempts link', async t => {
  const sdk = startSdk(t)
  const { enqueueMany, attempts } = await startApp(t)
  await enqueueMany('work', [{ payload: {}, id: 'a' }, { payload: { mode: {} } as never }, { payload: { mode: 'x' } }])
  await attempts.ended(2)
  const spans = sdk.spans()
  const created = named(spans, 'create jobs')
  const [send] = named(spans, 'send jobs')
  t.hasStrict(send, { kind: 'CLIENT', links: created.map(({ spanId }) => spanId), attributes: { 'messaging.batch.message_count': 2 } })
  t.notOk('messaging.message.id' in send!.attributes)
  t.hasStrict(created[0], {
    kind: 'PRODUCER',
    attributes: {
      ...system,
      'messaging.operation.name': 'create',
      'messaging.operation.type': 'create',
      'messaging.message.id': taskId('work', 'a'),
      'messaging.message.body.size': 2,
      'fastify_cloud_tasks.task': 'work'
    }
  })
  t.strictSame(named(spans, 'process jobs').map(({ links }) => links[0]).sort(), created.map(({ spanId }) => spanId).sort())
  const { 'messaging.client.sent.messages': sent } = await sdk.metrics()
  t.strictSame(sent!.map(({ value }) => value), [2])
})

t.test("the attempt's span is the active one in the handler and in onDropped, and the producer's is not", async t => {
  const sdk = startSdk(t)
  const seen: Array<string | undefined> = []
  const note = (): void => { seen.push(trace.getActiveSpan()?.spanContext().spanId) }
  const { app, enqueue, attempts } = await startApp(t, {
    onDropped: note,
    handlers: {
      async work (_, task) {
        note()
        await new Promise(resolve => setImmediate(resolve))
        sdk.tracer.startSpan('query').end()
        task.drop('unwanted')
      }
    }
  })
  await enqueue('work', {})
  await attempts.ended(1)
  const [attempt] = named(sdk.spans(), 'process jobs')
  t.strictSame(seen, [attempt!.spanId, attempt!.spanId])
  t.hasStrict(named(sdk.spans(), 'query'), [{ parent: attempt!.spanId, traceId: attempt!.traceId }])
  await app.close()
})

t.test('what is sampled out is not exported, and its log lines have the trace all the same', async t => {
  const sdk = startSdk(t, {}, { shouldSample: () => ({ decision: SamplingDecision.NOT_RECORD }), toString: () => 'none' })
  const traces: unknown[] = []
  const { enqueue, attempts, log } = await startApp(t, {
    handlers: {
      work (_, task) {
        const { traceId, traceFlags } = trace.getActiveSpan()!.spanContext()
        traces.push(traceId)
        t.equal(traceFlags, TraceFlags.NONE)
        task.log.info('working')
      }
    }
  })
  await enqueue('work', {})
  await attempts.ended(1)
  t.strictSame(sdk.spans(), [])
  t.equal(log.find(({ msg }) => msg === 'working')?.traceId, traces[0])
})

t.test('metrics of sends and of attempts', async t => {
  const sdk = startSdk(t)
  const { enqueue, attempts } = await startApp(t)
  await enqueue('work', {})
  await enqueue('work', { mode: 'fail once' })
  await attempts.ended(3)
  const metrics = await sdk.metrics()
  const send = { ...system, 'messaging.operation.name': 'send' }
  const attempt = { ...system, 'messaging.operation.name': 'process' }
  const counts = (name: string) => metrics[name]!.map(({ attributes, value }) => [attributes, value.count ?? value])
  t.strictSame(counts('messaging.client.sent.messages'), [[send, 2]])
  t.strictSame(counts('messaging.client.operation.duration'), [[send, 2]])
  t.strictSame(counts('messaging.client.consumed.messages'), [[attempt, 2], [{ ...attempt, 'error.type': 'TypeError' }, 1]])
  t.strictSame(counts('messaging.process.duration'), [[attempt, 2], [{ ...attempt, 'error.type': 'TypeError' }, 1]])
  t.ok(metrics['messaging.process.duration']![0]!.value.sum < 10, 'seconds')
})

t.test('metrics of the embedded queue: waiting, running, and the age of the oldest, until the app closes', async t => {
  const sdk = startSdk(t)
  const { open, opened } = gate()
  const running = gate()
  const { app, enqueue } = await startApp(t, {
    queues: { jobs: { rateLimits: { maxConcurrentDispatches: 1 } } },
    handlers: { async work () { running.open(); await opened } }
  })
  await enqueue('work', {})
  await running.opened
  await enqueue('work', {})
  await enqueue('work', {}, { scheduleDelaySeconds: 3600 })
  const points = async () => {
    const metrics = await sdk.metrics()
    return ['waiting', 'running', 'oldest_due_age'].map(name => metrics[`fastify_cloud_tasks.queue.${name}`]
      ?.find(({ attributes }) => (attributes as Attributes)['messaging.destination.name'] === 'jobs')?.value as number | undefined)
  }
  const [waiting, runs, age] = await points()
  t.strictSame([waiting, runs], [2, 1])
  t.ok(age! >= 0 && age! < 10)
  open()
  await app.close()
  const answers: string[] = []
  channel('fastify-cloud-tasks:counts').publish({ add: (queue: string) => { answers.push(queue) } })
  t.strictSame(answers, [], 'a closed app answers no more')
})

t.test('the deprecated messaging.system is there on request', async t => {
  const sdk = startSdk(t, { deprecatedSystemAttribute: true })
  const { enqueue } = await startApp(t, { handlers: {} })
  await enqueue('work', {})
  t.equal(sdk.spans()[0]!.attributes['messaging.system'], 'gcp.cloud_tasks')
})

t.test('a forged, malformed or oversized trace header is ignored', async t => {
  const sdk = startSdk(t)
  const { app } = await startApp(t, { auth: false })
  const good = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const call = async (headers: Record<string, string>) => {
    t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: {}, headers })).statusCode, 204)
    return sdk.spans().at(-1)!
  }
  t.strictSame((await call({ 'fastify-cloud-tasks-traceparent': good })).links, [], 'of a caller that is not verified')
  const verified = await startApp(t)
  const bad = [
    'x', good.toUpperCase(), good.slice(1), `${good}-more`, `01${good.slice(2)}`, `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`, 'y'.repeat(60_000)
  ]
  for (const parent of bad) {
    const local = handleOf(verified.app)!.local!
    await local.engine.createTask(local.queueName('jobs'), {
      httpRequest: {
        url: 'http://localhost/tasks/work',
        headers: { 'content-type': 'application/json', 'fastify-cloud-tasks-traceparent': parent },
        body: Buffer.from('{}')
      }
    })
  }
  await verified.attempts.ended(bad.length)
  t.strictSame(sdk.spans().map(({ links }) => links), Array.from({ length: 1 + bad.length }, () => []))
})

t.test('an error of the SDK changes no outcome', async t => {
  const sdk = startSdk(t)
  const reported: unknown[] = []
  diag.setLogger({ error: (...values) => { reported.push(values.at(-1)) }, warn () {}, info () {}, debug () {}, verbose () {} })
  t.teardown(() => { diag.disable() })
  const fault = (): never => { throw new Error('broken SDK') }
  const broken = { startSpan: fault, startActiveSpan: fault }
  const spanContext = () => ({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 })
  const half = { startSpan: () => ({ spanContext, isRecording: () => true, setAttribute: fault, end: fault, addLink: fault }) }
  const { enqueue, enqueueMany, attempts } = await startApp(t)
  let ended = 0
  for (const tracer of [broken, half]) {
    sdk.instrumentation.setTracerProvider({ getTracer: () => tracer as never })
    t.hasStrict(await enqueue('work', {}), { duplicate: false })
    t.strictSame((await enqueueMany('work', [{ payload: {} }])).map(({ status }) => status), ['fulfilled'])
    ended += 2
    t.strictSame((await attempts.ended(ended)).slice(-2).map(({ result }) => result), ['done', 'done'])
  }
  const { with: run } = context
  t.teardown(() => { context.with = run })
  context.with = fault
  await enqueue('work', {})
  await attempts.ended(ended + 1)
  t.equal(attempts.ends.at(-1)!.result, 'done')
  t.ok(reported.length > 8)
  t.ok(reported.every(error => (error as Error).message === 'broken SDK'))
})

t.test('it can be disabled and enabled, and rejects options that it does not know', async t => {
  const sdk = startSdk(t, { enabled: false })
  const { enqueue } = await startApp(t, { handlers: {} })
  await enqueue('work', {})
  t.equal(sdk.spans().length, 1, 'registered, it is enabled')
  sdk.instrumentation.disable()
  sdk.instrumentation.disable()
  await enqueue('work', {})
  t.equal(sdk.spans().length, 1)
  sdk.instrumentation.enable()
  sdk.instrumentation.enable()
  await enqueue('work', {})
  t.equal(sdk.spans().length, 2)
  t.throws(() => new CloudTasksInstrumentation({ propagation: 'child' as never }), { code: 'FST_TASKS_INVALID_OPTION', message: /propagation/ })
  t.throws(() => new CloudTasksInstrumentation({ propogation: 'link' } as never), { code: 'FST_TASKS_INVALID_OPTION', message: /did you mean 'propagation'/ })
})
