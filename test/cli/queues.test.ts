import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Config } from '../../lib/options/config.js'
import { createEmulator } from '../../lib/emulator/index.js'
import { CloudQueues } from '../../lib/transport/cloud/queues.js'
import { startRecordingServer, type RecordedCall, type Reply } from '../support/recording-server.js'
import { appSource, command } from './terminal.js'

const CLOUD =
  "transport: 'cloud', project: 'demo', location: 'us-central1', auth: false, target: { type: 'http', url: 'https://worker.example.com' }, sendTimeoutSeconds: 2,"
const QUEUES = 'queues: { slow: { rateLimits: { maxDispatchesPerSecond: 5 }, retryConfig: { maxAttempts: 3, minBackoffSeconds: 0.25 } } }'

const cwd = join(t.testdir({ queues: { 'app.js': appSource(CLOUD + QUEUES), 'local.js': appSource(QUEUES) } }), 'queues')

const QUEUE = 'projects/demo/locations/us-central1/queues'

function speakTo (t: Test, host: string): void {
  const before = process.env.CLOUD_TASKS_EMULATOR_HOST
  process.env.CLOUD_TASKS_EMULATOR_HOST = host
  t.teardown(() => {
    if (before === undefined) delete process.env.CLOUD_TASKS_EMULATOR_HOST
    else process.env.CLOUD_TASKS_EMULATOR_HOST = before
  })
}

async function startEmulator (t: Test) {
  const emulator = createEmulator({ port: 0 })
  t.teardown(async () => { await emulator.close() })
  const { host } = new URL(await emulator.listen())
  speakTo(t, host)
  return { emulator, host }
}

/** A service that has these queues, by their ids, and applies what it is sent. */
async function startService (t: Test, queues: Record<string, object>) {
  const server = await startRecordingServer()
  speakTo(t, server.host)
  t.teardown(async () => { await server.close() })
  server.reply = ({ method, request }: RecordedCall): Reply => {
    const name = (request.name ?? request.queue?.name ?? '') as string
    const id = name.slice(name.lastIndexOf('/') + 1)
    if (method === 'GetQueue') {
      return id in queues ? { answer: { name, ...queues[id] } } : { code: 'NOT_FOUND', details: 'Queue does not exist.' }
    }
    if (method === 'CreateTask') {
      return { answer: { ...request.task, name: `${request.parent}/tasks/1234`, scheduleTime: { seconds: 1_800_000_000 } } }
    }
    return { answer: request.queue }
  }
  return server
}

const complete = {
  rateLimits: { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 7 },
  retryConfig: { maxAttempts: 3, minBackoff: { seconds: 0, nanos: 250_000_000 } }
}

t.test('diff finds nothing where what the app sets is set, whatever else there is', async t => {
  const server = await startService(t, { default: { rateLimits: { maxDispatchesPerSecond: 1 } }, slow: complete })
  t.match(await command(['queues', 'diff'], { cwd }), { code: 0, out: 'nothing differs\n', err: '' })
  t.match(await command(['queues', 'sync'], { cwd }), { code: 0, out: 'nothing differs\n' })
  t.same(new Set(server.calls.map(call => call.method)), new Set(['GetQueue']))
  t.equal(server.calls[0]!.request.name, 'projects/demo/locations/us-central1/queues/slow')
})

t.test('diff prints what differs, changes nothing, and ends with code 1', async t => {
  const server = await startService(t, {
    slow: {
      ...complete,
      rateLimits: { maxDispatchesPerSecond: 500 },
      retryConfig: { maxAttempts: -1, minBackoff: { nanos: 250_000_000 } }
    }
  })
  const { code, out } = await command(['queues', 'diff'], { cwd })
  t.equal(code, 1)
  t.equal(out, `slow: rateLimits.maxDispatchesPerSecond is 500, the app sets 5
slow: retryConfig.maxAttempts is -1, the app sets 3
default: missing in Cloud Tasks
`)
  t.same(new Set(server.calls.map(call => call.method)), new Set(['GetQueue']))
})

t.test('sync sets what differs and nothing else, creates what is missing, and says so', async t => {
  const server = await startService(t, {
    slow: { ...complete, retryConfig: { maxAttempts: 9, minBackoff: { seconds: 3 }, maxDoublings: 2 } }
  })
  const { code, out } = await command(['queues', 'sync'], { cwd })
  t.equal(code, 0)
  t.equal(out, `slow: retryConfig.maxAttempts set to 3, was 9
slow: retryConfig.minBackoffSeconds set to 0.25, was 3
default: created
`)
  const update = server.calls.find(call => call.method === 'UpdateQueue')!.request
  t.strictSame(update.updateMask.paths, ['retry_config.max_attempts', 'retry_config.min_backoff'])
  t.match(update.queue, {
    name: 'projects/demo/locations/us-central1/queues/slow',
    retryConfig: { maxAttempts: 3, minBackoff: { nanos: 250_000_000 } }
  })
  t.notMatch(update.queue, { rateLimits: Object })
  t.match(server.calls.find(call => call.method === 'CreateQueue')!.request, {
    parent: 'projects/demo/locations/us-central1',
    queue: { name: /\/queues\/default$/ }
  })
})

t.test('a queue is created with its settings', async t => {
  const server = await startService(t, { default: {} })
  t.match(await command(['queues', 'sync'], { cwd }), {
    code: 0,
    out: /^slow: created \(rateLimits\.maxDispatchesPerSecond 5, retryConfig\.maxAttempts 3, retryConfig\.minBackoffSeconds 0\.25\)$/m
  })
  t.match(server.calls.find(call => call.method === 'CreateQueue')!.request.queue, {
    rateLimits: { maxDispatchesPerSecond: 5 },
    retryConfig: { maxAttempts: 3, minBackoff: { nanos: 250_000_000 } }
  })
})

t.test('on the emulator, sync leaves nothing to differ, and later changes are found and made', async t => {
  const { emulator } = await startEmulator(t)
  t.match(await command(['queues', 'diff'], { cwd }), {
    code: 1,
    out: /^slow: missing in Cloud Tasks .*\ndefault: missing in Cloud Tasks\n$/,
    err: ''
  })
  t.throws(() => emulator.engine.getQueue(`${QUEUE}/slow`), { code: 'NOT_FOUND' })
  t.match(await command(['queues', 'sync'], { cwd }), { code: 0, out: /^slow: created .*\ndefault: created\n$/, err: '' })
  t.match(await command(['queues', 'diff'], { cwd }), { code: 0, out: 'nothing differs\n', err: '' })

  await emulator.engine.pauseQueue(`${QUEUE}/slow`)
  writeFileSync(
    join(cwd, 'faster.js'),
    appSource(
      `${CLOUD} queues: { slow: { rateLimits: { maxConcurrentDispatches: 9 }, retryConfig: { maxAttempts: -1, maxRetrySeconds: 1.5 } } }`
    )
  )
  t.equal(
    (await command(['queues', 'diff', '-a', 'faster.js'], { cwd })).out,
    `slow: rateLimits.maxConcurrentDispatches is 1000, the app sets 9
slow: retryConfig.maxAttempts is 3, the app sets -1
slow: retryConfig.maxRetrySeconds is 0, the app sets 1.5
`
  )
  t.match(await command(['queues', 'sync', '-a', 'faster.js'], { cwd }), {
    code: 0,
    out: /^slow: retryConfig\.maxAttempts set to -1, was 3$/m
  })
  t.match(await command(['queues', 'diff', '-a', 'faster.js'], { cwd }), { code: 0 })
  const message = await (await fetch(`${emulator.url}/v2/${QUEUE}/slow`)).json()
  t.match(message, {
    state: 'PAUSED',
    rateLimits: { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 9 },
    retryConfig: { maxAttempts: -1, maxRetryDuration: '1.500s', minBackoff: '0.250s' }
  })

  writeFileSync(join(cwd, 'slower.js'), appSource(`${CLOUD} queues: { slow: { retryConfig: { minBackoffSeconds: 5000 } } }`))
  t.match(await command(['queues', 'sync', '-a', 'slower.js'], { cwd }), { code: 2, out: '', err: /queue 'slow': .*back-?off/i })
})

t.test('on the emulator, enqueue adds a task and a second of its id is a duplicate', async t => {
  const { emulator } = await startEmulator(t)
  t.match(await command(['enqueue', 'give', '"null"', '--delay', '3600'], { cwd }), { code: 1, out: '', err: /queue.*slow/ })
  await emulator.engine.createQueue(`${QUEUE}/slow`)
  const enqueue = ['enqueue', 'give', '"null"', '--id', 'order 42', '--delay', '3600']
  t.match(JSON.parse((await command(enqueue, { cwd })).out), { name: 'give', queue: 'slow', duplicate: false })
  t.match(JSON.parse((await command(enqueue, { cwd })).out), { duplicate: true })
  t.match(emulator.engine.listTasks(`${QUEUE}/slow`).tasks, [
    { httpRequest: { url: 'https://worker.example.com/tasks/give', httpMethod: 'PUT' } }
  ])
})

t.test('whatever settings are written, they are read back', async t => {
  const { host } = await startEmulator(t)
  const config = { project: 'demo', location: 'us-central1', emulatorHost: host, sendTimeoutMs: 5000 } as Config
  const queues = new CloudQueues(config, new AbortController().signal)
  t.teardown(async () => { await queues.close() })
  const seconds = (min: number, max: number) => fc.integer({ min: min * 1000, max: max * 1000 }).map(ms => ms / 1000)
  const settings = fc.record({
    'rateLimits.maxDispatchesPerSecond': fc.oneof(fc.integer({ min: 1, max: 500 }), fc.constantFrom(0.1, 0.25, 499.9)),
    'rateLimits.maxConcurrentDispatches': fc.integer({ min: 1, max: 5000 }),
    'retryConfig.maxAttempts': fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 1_000_000 })),
    'retryConfig.maxRetrySeconds': seconds(0, 1_000_000),
    'retryConfig.minBackoffSeconds': seconds(0, 0.1),
    'retryConfig.maxBackoffSeconds': seconds(1, 100_000),
    'retryConfig.maxDoublings': fc.integer({ min: 1, max: 16 })
  }, { requiredKeys: [] }).map(fields => new Map(Object.entries(fields) as Array<[string, number]>))
  let count = 0
  await fc.assert(fc.asyncProperty(settings, settings, async (first, second) => {
    const id = `queue-${++count}`
    const created = await queues.create(id, first)
    t.strictSame(created, new Map([...created, ...first]))
    t.strictSame(await queues.read(id), created)
    t.strictSame(await queues.update(id, second), new Map([...created, ...second]))
    t.strictSame(await queues.read(id), new Map([...created, ...second]))
  }), { numRuns: 40 })
})

t.test('a setting that the service ignores is reported, and the others are written', async t => {
  const server = await startService(t, {})
  // On the wire, 0 looks as if it were left out.
  const stubborn = ({ request }: RecordedCall): Reply => ({
    answer: { ...request.queue, retryConfig: { ...request.queue.retryConfig, maxDoublings: 16 } }
  })
  const { reply } = server
  server.reply = call => call.method === 'CreateQueue' ? stubborn(call) : reply(call)
  writeFileSync(join(cwd, 'linear.js'), appSource(`${CLOUD} queues: { default: { retryConfig: { maxDoublings: 0, maxAttempts: 4 } } }`))
  t.match(await command(['queues', 'sync', '-a', 'linear.js'], { cwd }), {
    code: 0,
    out: /^default: created \(retryConfig\.maxDoublings 0, retryConfig\.maxAttempts 4\)$/m,
    err: ''
  })
  t.strictSame(
    server.calls.find(call => call.method === 'UpdateQueue')!.request.updateMask.paths,
    ['retry_config.max_doublings'],
    'a mask distinguishes 0 from nothing'
  )
  server.reply = call => call.method === 'GetQueue' ? reply(call) : stubborn(call)
  t.match(await command(['queues', 'sync', '-a', 'linear.js'], { cwd }), {
    code: 2, out: /^slow: created$/m, err: 'default: retryConfig.maxDoublings stays 16, Cloud Tasks ignored 0\n'
  })
})

t.test('what prevents the command is reported, with code 2', async t => {
  const server = await startService(t, {})
  server.reply = () => ({ code: 'PERMISSION_DENIED', details: 'lacks IAM permission "cloudtasks.queues.get"' })
  t.match(await command(['queues', 'diff'], { cwd }), { code: 2, out: '', err: /queue 'slow': .*roles\/cloudtasks\.viewer/ })
  server.reply = ({ method }) =>
    method === 'GetQueue' ? { code: 'NOT_FOUND', details: 'no' } : { code: 'PERMISSION_DENIED', details: 'no' }
  t.match(await command(['queues', 'sync'], { cwd }), { code: 2, err: /roles\/cloudtasks\.queueAdmin/ })
  delete process.env.CLOUD_TASKS_EMULATOR_HOST
  t.match(await command(['queues', 'diff', '-a', 'local.js'], { cwd }), { code: 2, err: /transport is 'local'/ })
  t.match(await command(['queues', 'diff', '-a', 'absent.js'], { cwd }), { code: 2, err: /there is no file/ })
  t.match(await command(['queues'], { cwd }), { code: 2, err: /'queues diff', 'sync', 'pause' or 'resume'\?/ })
  t.match(await command(['queues', 'dif'], { cwd }), { code: 2, err: /did you mean 'diff'\?/ })
})

t.test('enqueue sends through the transport of the app and prints the result', async t => {
  const server = await startService(t, {})
  const { code, out, err } = await command(['enqueue', 'give', '"null"', '--id', 'one', '--delay', '10', '--queue', 'other'], { cwd })
  t.equal(err, '')
  t.equal(code, 0)
  t.match(JSON.parse(out), { name: 'give', queue: 'other', duplicate: false, id: /-one$/ })
  t.match(server.calls, [
    {
      method: 'CreateTask',
      request: {
        parent: /\/queues\/other$/,
        task: { httpRequest: { url: 'https://worker.example.com/tasks/give', body: Buffer.from('"null"') } }
      }
    }
  ])
})

t.test('enqueue rejects tasks that could not run', async t => {
  const server = await startService(t, {})
  t.match(await command(['enqueue', 'greet', '{"name":"A"}'], { cwd }), { code: 1, err: /\n {2}name {2}must NOT have fewer/ })
  t.match(await command(['enqueue', 'greet'], { cwd }), { code: 1, err: /fastify-cloud-tasks enqueue greet '\{/ })
  t.match(await command(['enqueue', 'greet', '{}', '--delay', 'soon'], { cwd }), {
    code: 2,
    err: /'--delay soon' must be a number of seconds/
  })
  t.match(await command(['enqueue', 'greet', '{"name":"Ada"}', '--queue', 'a_b'], { cwd }), {
    code: 1,
    err: /'queue' must be a queue id: 1 to 100 letters/
  })
  t.match(await command(['enqueue'], { cwd }), { code: 2, err: /missing task/ })
  t.same(server.calls, [])
  server.reply = () => ({ code: 'PERMISSION_DENIED', details: 'no' })
  t.match(await command(['enqueue', 'greet', '{"name":"Ada"}'], { cwd }), { code: 1, out: '', err: /roles\/cloudtasks\.enqueuer/ })
  delete process.env.CLOUD_TASKS_EMULATOR_HOST
  t.match(await command(['enqueue', 'greet', '{"name":"Ada"}', '-a', 'local.js'], { cwd }), {
    code: 1,
    out: '',
    err: /keeps tasks in memory/
  })
})

t.test('list and run need no credentials and no service', async t => {
  delete process.env.CLOUD_TASKS_EMULATOR_HOST
  t.match(await command(['list'], { cwd }), { code: 0, out: /greet/ })
  t.match(await command(['run', 'greet', '{"name":"Ada"}'], { cwd }), { code: 0, out: /Ada/ })
})

t.test('pause and resume reach the directory of a server that is stopped, and Cloud Tasks', async t => {
  const directory = t.testdir()
  writeFileSync(join(cwd, 'kept.js'), appSource(`transport: 'local', local: { directory: ${JSON.stringify(join(directory, 'tasks'))} }, ${QUEUES}`))
  const kept = ['-a', 'kept.js']
  t.match(await command(['queues', 'pause', 'slow', ...kept], { cwd }), { code: 0, out: 'slow: paused\n' })
  t.match(await command(['queues', 'resume', 'slow', ...kept], { cwd }), { code: 0, out: 'slow: resumed\n', err: /queue 'slow' is paused/ })
  t.notMatch((await command(['queues', 'resume', 'slow', ...kept], { cwd })).err, /is paused/)
  t.match(await command(['queues', 'pause', 'none', ...kept], { cwd }), { code: 1, out: '', err: /Queue 'none' does not exist/ })
  t.match(await command(['queues', 'pause', 'slow', '-a', 'local.js'], { cwd }), { code: 1, out: '', err: /app\.tasks\.pauseQueue\('slow'\)/ })
  t.match(await command(['queues', 'pause'], { cwd }), { code: 2, err: /queues pause QUEUE/ })
  t.match(await command(['queues', 'sync', 'slow'], { cwd }), { code: 2, err: /'slow'/ })

  const { emulator } = await startEmulator(t)
  t.match(await command(['queues', 'pause', 'slow'], { cwd }), { code: 1, out: '', err: /queue 'slow'/ })
  await emulator.engine.createQueue(`${QUEUE}/slow`)
  t.match(await command(['queues', 'pause', 'slow'], { cwd }), { code: 0, out: 'slow: paused\n' })
  t.equal(emulator.engine.getQueue(`${QUEUE}/slow`).state, 'PAUSED')
  t.match(await command(['queues', 'resume', 'slow'], { cwd }), { code: 0, out: 'slow: resumed\n' })
  t.equal(emulator.engine.getQueue(`${QUEUE}/slow`).state, 'RUNNING')
})
