import { context, ROOT_CONTEXT, SpanKind, trace, type Span } from '@opentelemetry/api'
import t from 'tap'
import { newEnqueueEvent, type AttemptEvent } from '../../lib/events.js'
import { AttemptSpans } from '../../lib/otel/attempt-spans.js'
import { EnqueueSpans } from '../../lib/otel/enqueue-spans.js'
import type { Telemetry } from '../../lib/otel/telemetry.js'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'
const PARENT = 'fastify-cloud-tasks-traceparent'
const system = { 'messaging.system.name': 'gcp.cloud_tasks', 'messaging.destination.name': 'jobs' }

/** What spans are made with, and what is recorded with it. */
function telemetryOf ({ propagation = 'link' as 'link' | 'parent', recording = true, deprecated = false } = {}) {
  const spans: Array<{ name: string, options: object, parent: unknown, calls: unknown[][], span: Span }> = []
  const measured: unknown[][] = []
  const startSpan = (name: string, options: object, parent: unknown): unknown => {
    const calls: unknown[][] = []
    const own = { traceId, spanId: String(spans.length + 1).repeat(16), traceFlags: 1 }
    const span = new Proxy({}, {
      get: (_, method) => (...values: unknown[]): unknown => {
        if (method === 'spanContext') return own
        if (method === 'isRecording') return recording
        calls.push([method, ...values])
        return undefined
      }
    }) as Span
    spans.push({ name, options, parent, calls, span })
    return span
  }
  const measurements = new Proxy({}, {
    get: (_, method) => (value: number, attributes: object): void => {
      measured.push([method, method === 'sent' ? value : value >= 0 && value < 60, { ...attributes }])
    }
  })
  const config = { propagation, deprecatedSystemAttribute: deprecated }
  return { telemetry: { config, tracer: { startSpan }, measurements } as never as Telemetry, spans, measured }
}

t.test('a call of enqueue is a span that its task carries', async t => {
  for (const recording of [true, false]) {
    const { telemetry, spans, measured } = telemetryOf({ recording })
    const enqueued = new EnqueueSpans(telemetry)
    const event = newEnqueueEvent('work', 'jobs', false)
    event.headersOf = () => ({ 'x-other': 'kept', [PARENT]: 'replaced' })
    enqueued.start(event)
    const [{ name, options, parent, calls, span }] = spans as [typeof spans[number]]
    t.strictSame([name, options, parent], ['send jobs', {
      kind: SpanKind.PRODUCER,
      attributes: { ...system, 'fastify_cloud_tasks.task': 'work', 'messaging.operation.name': 'send', 'messaging.operation.type': 'send' }
    }, ROOT_CONTEXT])
    const headers = { 'x-other': 'kept', [PARENT]: `00-${traceId}-${span.spanContext().spanId}-01` }
    t.strictSame(event.headersOf({ queue: 'jobs', id: undefined, bodySize: 2 }), headers)
    t.strictSame(calls.splice(0), recording ? [['setAttribute', 'messaging.message.body.size', 2]] : [])
    event.headersOf({ queue: 'jobs', id: '7', bodySize: 3 })
    t.strictSame(calls.splice(0), recording
      ? [['setAttribute', 'messaging.message.body.size', 3], ['setAttribute', 'messaging.message.id', '7']]
      : [])
    Object.assign(event, { id: '7', duplicate: true, sent: 1 })
    enqueued.end(event)
    enqueued.end(event)
    t.strictSame(calls, recording
      ? [['setAttribute', 'messaging.message.id', '7'], ['setAttribute', 'fastify_cloud_tasks.duplicate', true], ['end']]
      : [['end']])
    const attributes = { ...system, 'messaging.operation.name': 'send' }
    t.strictSame(measured, [['sendEnded', true, attributes], ['sent', 1, attributes]])
  }
})

t.test('a call that is not ended any more has no end', async t => {
  const { telemetry, spans, measured } = telemetryOf()
  const [enqueued, attempted] = [new EnqueueSpans(telemetry), new AttemptSpans(telemetry)]
  const [call, attempt] = [newEnqueueEvent('work', 'jobs', false), attemptEvent()]
  enqueued.start(call)
  attempted.start(attempt)
  enqueued.clear()
  attempted.clear()
  enqueued.end(call)
  attempted.end(attempt)
  t.strictSame([spans.map(({ calls }) => calls), measured], [[[], []], []])
})

t.test('a failed send is counted by its error, a refusal not at all, and a batch by each of its failures', async t => {
  const attributes = { ...system, 'messaging.operation.name': 'send' }
  const coded = (code: string) => Object.assign(new Error('no'), { code })
  const refusals = [
    'FST_TASKS_NOT_REGISTERED', 'FST_TASKS_PAYLOAD_NOT_JSON', 'FST_TASKS_INVALID_PAYLOAD', 'FST_TASKS_INVALID_ENQUEUE_OPTION'
  ].map(coded)
  const closing = coded('FST_TASKS_CLOSING')
  const failed = { ...attributes, 'error.type': 'FST_TASKS_CLOSING' }
  for (const [batch, sent, error, failures, expected] of [
    [false, 1, closing, [], [['sendEnded', true, failed], ['sent', 1, failed], ['sent', 0, attributes]]],
    [false, 0, refusals[0], [], [['sendEnded', true, { ...attributes, 'error.type': 'FST_TASKS_NOT_REGISTERED' }], ['sent', 0, attributes]]],
    [false, 0, closing, [], [['sendEnded', true, failed], ['sent', 0, attributes]]],
    [true, 5, undefined, [closing, ...refusals, closing], [
      ['sendEnded', true, failed], ['sent', 1, failed], ['sent', 1, failed], ['sent', 3, attributes]
    ]],
    [true, 5, closing, [], [['sendEnded', true, failed], ['sent', 5, attributes]]]
  ] as const) {
    const { telemetry, spans, measured } = telemetryOf()
    const enqueued = new EnqueueSpans(telemetry)
    const event = newEnqueueEvent('work', 'jobs', batch)
    enqueued.start(event)
    enqueued.end(Object.assign(event, { sent, error, failures }))
    t.strictSame(measured, expected)
    const calls = spans[0]!.calls.map(([method]) => method)
    t.strictSame(calls.slice(batch ? 1 : 0), ['setAttribute', 'setStatus', 'recordException', 'end'])
    if (batch) t.strictSame(spans[0]!.calls[0], ['setAttribute', 'messaging.batch.message_count', 5])
  }
})

t.test('each task of a batch has a span, to which that of the batch links', async t => {
  const { telemetry, spans } = telemetryOf({ propagation: 'parent', deprecated: true })
  const event = newEnqueueEvent('work', 'jobs', true)
  new EnqueueSpans(telemetry).start(event)
  const headers = [event.headersOf!({ queue: 'other', id: '7', bodySize: 2 }), event.headersOf!({ queue: 'jobs', id: undefined, bodySize: 3 })]
  const [batch, ...created] = spans as [typeof spans[number], ...typeof spans]
  t.strictSame([batch.name, (batch.options as { kind: number }).kind], ['send jobs', SpanKind.CLIENT])
  t.strictSame(created.map(({ name, options, calls }) => [name, options, calls]), [
    ['other', { 'messaging.message.body.size': 2, 'messaging.message.id': '7' }], ['jobs', { 'messaging.message.body.size': 3 }]
  ].map(([queue, own]) => [`create ${queue}`, {
    kind: SpanKind.PRODUCER,
    attributes: {
      'fastify_cloud_tasks.task': 'work',
      ...own as object,
      'messaging.operation.name': 'create',
      'messaging.operation.type': 'create',
      'messaging.destination.name': queue,
      'messaging.system.name': 'gcp.cloud_tasks',
      'messaging.system': 'gcp.cloud_tasks'
    }
  }, [['end']]]))
  t.strictSame(batch.calls, created.map(({ span }, index) => [
    'addLink', { context: span.spanContext(), attributes: index === 0 ? { 'messaging.message.id': '7' } : {} }
  ]))
  t.strictSame(headers, created.map(({ span }) => {
    const parent = `00-${traceId}-${span.spanContext().spanId}-01`
    return { [PARENT]: parent, traceparent: parent }
  }))
})

function attemptEvent (more: Partial<AttemptEvent> = {}): AttemptEvent {
  return {
    task: 'work',
    id: '7',
    queue: 'jobs',
    attempt: 2,
    bodySize: undefined,
    trace: undefined,
    listening: undefined,
    result: undefined,
    status: undefined,
    durationMs: 0,
    exhausted: false,
    logFields: undefined,
    error: undefined,
    around: undefined,
    ...more
  }
}

t.test('an attempt is a span with its outcome', async t => {
  const attributes = {
    ...system,
    'fastify_cloud_tasks.task': 'work',
    'messaging.message.id': '7',
    'fastify_cloud_tasks.attempt': 2,
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process'
  }
  const processed = { ...system, 'messaging.operation.name': 'process' }
  const failure = { 'error.type': 'RangeError' }
  const failed = ['setAttribute', 'setStatus', 'recordException']
  for (const [end, recording, calls, measured] of [
    [{ result: 'done', status: 204 }, true, ['setAttribute', 'setAttribute'], {}],
    [{ result: 'retry', status: 500, exhausted: true, error: new RangeError() }, true, [...Array(3).fill('setAttribute'), ...failed], failure],
    [{ result: 'retry', status: 500, error: new RangeError() }, false, [], failure],
    [{ error: new RangeError() }, true, failed, failure],
    [{ result: 'postponed' }, true, ['setAttribute'], {}]
  ] as const) {
    const own = telemetryOf({ recording })
    const attempted = new AttemptSpans(own.telemetry)
    const event = attemptEvent({ bodySize: 5, logFields: { request: 'r' } })
    attempted.start(event)
    const [span] = own.spans
    t.strictSame([span!.name, span!.options], ['process jobs', {
      kind: SpanKind.CONSUMER, attributes: { ...attributes, 'messaging.message.body.size': 5 }
    }])
    t.strictSame(event.logFields, { request: 'r', traceId, spanId: '1'.repeat(16) })
    attempted.end(Object.assign(event, end))
    attempted.end(event)
    t.strictSame(span!.calls.map(([method]) => method), [...calls, 'end'])
    t.strictSame(own.measured, [['processEnded', true, { ...processed, ...measured }]])
  }
  const own = telemetryOf()
  const event = attemptEvent()
  new AttemptSpans(own.telemetry).start(event)
  t.strictSame([own.spans[0]!.options, event.logFields], [{ kind: SpanKind.CONSUMER, attributes }, { traceId, spanId: '1'.repeat(16) }])
})

t.test('an attempt refers to the span that enqueued its task by a link, or as its child', async t => {
  const { active } = context
  t.teardown(() => { context.active = active })
  const parent = `00-${traceId}-${spanId}-01`
  const producer = { traceId, spanId, traceFlags: 1, isRemote: true }
  const server = (id: string) => ({ traceId: id, spanId: '5'.repeat(16), traceFlags: 1 })
  const other = server('9'.repeat(32))
  for (const [propagation, header, request, parentSpan, links] of [
    ['link', undefined, undefined, undefined, undefined],
    ['link', parent, undefined, undefined, [producer]],
    ['link', parent, other, other.spanId, [producer]],
    ['parent', undefined, other, other.spanId, undefined],
    ['parent', 'malformed', other, other.spanId, undefined],
    ['parent', parent, undefined, spanId, undefined],
    ['parent', parent, other, spanId, [other]],
    ['parent', parent, server(traceId), '5'.repeat(16), undefined]
  ] as const) {
    context.active = () => request === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, request)
    const { telemetry, spans } = telemetryOf({ propagation })
    const event = attemptEvent(header === undefined ? {} : { trace: { parent: header, state: undefined } })
    new AttemptSpans(telemetry).start(event)
    const [span] = spans
    t.equal(trace.getSpanContext(span!.parent as never)?.spanId, parentSpan)
    t.strictSame((span!.options as { links?: object }).links, links?.map(one => ({ context: one })))
  }
})

t.test('an attempt has no parent in a span that its request has only inherited from the server', async t => {
  const { active } = context
  t.teardown(() => { context.active = active })
  const [one, other] = ['1', '2'].map(id => trace.wrapSpanContext({ traceId, spanId: id.repeat(16), traceFlags: 1 }))
  const contextWith = (span: Span | undefined) => span === undefined ? ROOT_CONTEXT : trace.setSpan(ROOT_CONTEXT, span)
  for (const [what, request, server, parent] of [
    ['inherited', one, one, undefined], ['its own', one, other, one], ['its own alone', one, undefined, one], ['none', undefined, one, undefined]
  ] as const) {
    context.active = () => contextWith(request)
    const listening = {
      runInAsyncScope (work: () => unknown) {
        context.active = () => contextWith(server)
        const result = work()
        context.active = () => contextWith(request)
        return result
      }
    }
    const { telemetry, spans } = telemetryOf()
    new AttemptSpans(telemetry).start(attemptEvent({ listening: listening as never }))
    t.equal(trace.getSpan(spans[0]!.parent as never), parent, what)
  }
})
