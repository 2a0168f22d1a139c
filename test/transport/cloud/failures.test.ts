import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { credentials } from '@grpc/grpc-js'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { resolveConfig } from '../../../lib/options/config.js'
import cloudTasks from '../../../lib/index.js'
import { explain } from '../../../lib/server-error.js'
import { CloudTransport } from '../../../lib/transport/cloud/cloud.js'
import type { OutgoingTask } from '../../../lib/transport/transport.js'
import { environment } from '../../support/environment.js'
import { startRecordingServer, type Reply } from '../../support/recording-server.js'
import { tasks, ACCOUNT, CLOUD, startServer, startApp, replies, turn } from '../../support/cloud-app.js'

/** The transport alone, on a clock that only its own waits move. */
function startTransport (t: Test, host: string, options: object = {}, chance = 1) {
  const clock = new EagerClock()
  const config = resolveConfig({ tasks, ...CLOUD, ...options }, { CLOUD_TASKS_EMULATOR_HOST: host }, false)
  const transport = new CloudTransport({ prefix: '', addHook: () => {} } as never, config, clock, () => chance)
  t.teardown(() => transport.close())
  return { transport, waits: clock.waits, clock }
}

/** Moves on at once by whatever is waited for, unless it is held. */
class EagerClock extends ManualClock {
  readonly waits: number[] = []
  held = false

  override setTimeout (callback: () => void, ms: number): unknown {
    this.waits.push(ms)
    if (!this.held) queueMicrotask(() => { this.step(ms) })
    return super.setTimeout(callback, ms)
  }
}

const outgoing: OutgoingTask = {
  id: undefined,
  method: 'POST',
  path: '/mail',
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{}'),
  scheduleAt: undefined,
  dispatchDeadlineMs: undefined
}

t.test('a call that fails for good', async t => {
  const actAs = `The principal (user or service account) lacks IAM permission "iam.serviceAccounts.actAs" for the resource "${ACCOUNT}" (or the resource may not exist).`
  const failures: Array<[Reply & object, string, RegExp]> = [
    [
      {
        code: 'PERMISSION_DENIED',
        details: 'The principal (user or service account) lacks IAM permission "cloudtasks.tasks.create" for the resource "projects/demo".'
      },
      'FST_TASKS_SEND_FAILED',
      /gcloud tasks queues add-iam-policy-binding default --location=us-central1 --project=demo .*roles\/cloudtasks\.enqueuer/
    ],
    [
      { code: 'PERMISSION_DENIED', details: actAs },
      'FST_TASKS_SEND_FAILED',
      /add-iam-policy-binding tasks@demo\.iam\.gserviceaccount\.com .*roles\/iam\.serviceAccountUser/
    ],
    [
      { code: 'PERMISSION_DENIED', details: 'Cloud Tasks API has not been used in project 1 before or it is disabled.' },
      'FST_TASKS_SEND_FAILED',
      /gcloud services enable cloudtasks\.googleapis\.com --project=demo/
    ],
    [
      {
        code: 'NOT_FOUND',
        details: 'Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.'
      },
      'FST_TASKS_QUEUE_NOT_FOUND',
      /create it in the emulator/
    ],
    [{ code: 'FAILED_PRECONDITION', details: 'Queue does not exist.' }, 'FST_TASKS_QUEUE_NOT_FOUND', /default/],
    [{ code: 'NOT_FOUND', details: `Service account ${ACCOUNT} not found` }, 'FST_TASKS_SEND_FAILED', /CLOUD_TASKS_SERVICE_ACCOUNT/],
    [
      { code: 'INVALID_ARGUMENT', details: "Location 'us-central1' is not a valid location. Use ListLocations to list valid locations." },
      'FST_TASKS_SEND_FAILED',
      /CLOUD_TASKS_LOCATION/
    ],
    [
      {
        code: 'INVALID_ARGUMENT',
        details: "HttpRequest.url must start with 'https://' for request with HttpRequest.authorization_header"
      },
      'FST_TASKS_SEND_FAILED',
      /CLOUD_TASKS_TARGET_URL/
    ],
    [{ code: 'INVALID_ARGUMENT', details: 'Task size too large' }, 'FST_TASKS_TOO_LARGE', /\d{2,} bytes/],
    [
      { code: 'UNAUTHENTICATED', details: 'Request had invalid authentication credentials.' },
      'FST_TASKS_SEND_FAILED',
      /gcloud auth application-default login/
    ],
    [{ code: 'INTERNAL', details: 'Internal error encountered.' }, 'FST_TASKS_SEND_FAILED', /INTERNAL/],
    [{ code: 'ALREADY_EXISTS', details: 'Requested entity already exists' }, 'FST_TASKS_SEND_FAILED', /without an id/]
  ]
  const server = await startServer(t)
  const app = await startApp(t, server)
  for (const [reply, code, hint] of failures) {
    const { code: status, details } = reply as { code: string, details: string }
    t.test(`with ${status} (${details.slice(0, 40)}) is not retried, and the error says how to fix it`, async t => {
      server.calls.length = 0
      replies(server, reply)
      const error = await app.enqueue('mail', { to: 'secret@example.com' }).catch(error => error)
      t.equal(error.code, code)
      t.match(explain(error), hint)
      t.notMatch(`${error.message} ${error.explanation}`, /secret@/)
      if (code === 'FST_TASKS_QUEUE_NOT_FOUND' || /gcloud|CLOUD_TASKS/.test(explain(error))) t.hasStrict(error.cause, { details })
      t.equal(server.calls.length, 1)
    })
  }

  t.test('for a missing queue in Google Cloud has the command that creates it', async t => {
    const { CloudTasksClient } = await import('@google-cloud/tasks')
    const client = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port: server.port, sslCreds: credentials.createInsecure() })
    t.teardown(() => client.close())
    environment(t, { CLOUD_TASKS_EMULATOR_HOST: undefined })
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, ...CLOUD, client } as never)
    replies(server, { code: 'NOT_FOUND', details: 'Queue does not exist.' })
    const error = await app.enqueue('mail', { to: 'a' }, { queue: 'fast' }).catch(error => error)
    t.equal(error.code, 'FST_TASKS_QUEUE_NOT_FOUND')
    t.match(error.explanation, /gcloud tasks queues create fast --location=us-central1 --project=demo/)
  })

  t.test('because the task is too large is reported before anything is sent', async t => {
    server.calls.length = 0
    await t.rejects(app.enqueue('mail', { to: 'a', body: 'x'.repeat(1_046_300) }), { code: 'FST_TASKS_TOO_LARGE' })
    t.equal(server.calls.length, 0)
    await app.enqueue('mail', { to: 'a', body: 'x'.repeat(1_045_800) })
    t.equal(server.calls.length, 1)
  })
})

t.test('a call that may go better the next time', async t => {
  const unavailable: Reply = { code: 'UNAVAILABLE', details: 'The service is currently unavailable.' }
  const exists: Reply = { code: 'ALREADY_EXISTS', details: 'Requested entity already exists' }
  const exhausted: Reply = { code: 'RESOURCE_EXHAUSTED', details: 'Quota exceeded' }

  for (const reply of [unavailable, exhausted, { code: 'DEADLINE_EXCEEDED', details: 'Deadline exceeded' }] as const) {
    t.test(`is tried again after ${(reply as { code: string }).code}`, async t => {
      const server = await startServer(t)
      const { transport, waits } = startTransport(t, server.host)
      replies(server, reply, reply)
      t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
      t.equal(server.calls.length, 3)
      t.strictSame(waits, [100, 200])
    })
  }

  t.test('is tried again after a connection reset', async t => {
    const server = await startServer(t)
    const opened = new Set<Socket>()
    const proxy = createServer(socket => {
      const upstream = connect(server.port, '127.0.0.1')
      for (const one of [socket, upstream]) one.on('error', () => {}).on('close', () => { opened.delete(socket) })
      opened.add(socket.on('close', () => { upstream.destroy() }))
      socket.pipe(upstream).pipe(socket)
    })
    await new Promise<void>(resolve => { proxy.listen(0, '127.0.0.1', resolve) })
    t.teardown(() => { proxy.close() })
    const { transport } = startTransport(t, `127.0.0.1:${(proxy.address() as AddressInfo).port}`)
    replies(server, () => {
      for (const socket of opened) socket.resetAndDestroy()
      return 'silence'
    })
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x' }), { outcome: 'created', id: 'x' })
    t.equal(server.calls.length, 2)
    await transport.close()
  })

  t.test('is tried again when no answer comes', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host, { sendTimeoutSeconds: 0.4 })
    replies(server, 'silence')
    t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
    t.equal(server.calls.length, 2)
  })

  t.test('waits twice as long each time, up to 2 s, and a half of it at least', async t => {
    const server = await startServer(t)
    server.reply = () => unavailable
    for (const [chance, expected] of [
      [1, [100, 200, 400, 800, 1600, 2000, 2000, 2000]],
      [0, [50, 100, 200, 400, 800, 1000, 1000, 1000]]
    ] as const) {
      const { transport, waits } = startTransport(t, server.host, { sendTimeoutSeconds: 60 }, chance)
      await transport.createTask('default', outgoing)
      t.strictSame(waits.slice(0, 8), expected)
    }
  })

  t.test('is given up within the time budget, and the message says that it may have taken effect', async t => {
    const server = await startServer(t)
    const { transport, waits } = startTransport(t, server.host, { sendTimeoutSeconds: 1 })
    server.reply = () => unavailable
    const sent = await transport.createTask('default', outgoing)
    t.hasStrict(sent, { outcome: 'failed', cause: { details: 'The service is currently unavailable.' } })
    t.match((sent as { problem: string }).problem, /sendTimeoutSeconds.*may have taken effect/)
    t.strictSame(waits, [100, 200, 400])
    t.equal(server.calls.length, 4)
  })

  t.test('to an emulator that is not there names it, and knows that nothing arrived', async t => {
    const server = await startRecordingServer()
    await server.close()
    const { transport } = startTransport(t, server.host, { sendTimeoutSeconds: 0.2 })
    const { outcome, problem } = await transport.createTask('default', outgoing) as { outcome: string, problem: string }
    t.equal(outcome, 'failed')
    t.ok(problem.includes(server.host) && problem.includes('CLOUD_TASKS_EMULATOR_HOST'), problem)
    t.notMatch(problem, /may have taken effect/)
  })

  t.test('and finds its own task there, is a success', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host)
    replies(server, unavailable, exists)
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x', scheduleAt: 5000 }), {
      outcome: 'created',
      id: 'x',
      scheduleAt: 5000
    })
  })

  t.test('and finds a task there, though no try of its own can have made it, is a duplicate', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host)
    replies(server, exhausted, exists)
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x' }), { outcome: 'duplicate' })
    replies(server, exists)
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x' }), { outcome: 'duplicate' })
  })

  t.test('and finds its task gone, has deleted it', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host)
    const gone: Reply = { code: 'NOT_FOUND', details: 'Requested entity was not found.' }
    replies(server, unavailable, gone)
    t.hasStrict(await transport.deleteTask('default', 'x'), { outcome: 'deleted' })
    replies(server, exhausted, gone)
    t.hasStrict(await transport.deleteTask('default', 'x'), { outcome: 'notFound' })
    t.equal(server.calls.length, 4, 'the client has no additional retries of its own')
  })

  t.test('does not outlast the close', async t => {
    const server = await startServer(t)
    const { transport, clock } = startTransport(t, server.host)
    clock.held = true
    server.reply = () => unavailable
    const sent = transport.createTask('default', outgoing)
    while (clock.pending === 0) await turn()
    await transport.close()
    t.hasStrict(await sent, { outcome: 'failed' })
    t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'closing' })
    t.hasStrict(await transport.deleteTask('default', 'x'), { outcome: 'closing' })
    t.equal(clock.pending, 0)
  })
})
