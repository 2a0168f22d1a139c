import t, { type Test } from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../../lib/cloud-tasks/limits.js'
import type { Config } from '../../../lib/options/config.js'
import { ClientSource } from '../../../lib/transport/cloud/client.js'
import { checkLetterQueue, LETTER_QUEUE } from '../../../lib/transport/cloud/letter-queue.js'
import { CloudQueues, type QueueFields } from '../../../lib/transport/cloud/queues.js'
import { CloudRetrySettings } from '../../../lib/transport/cloud/retry-settings.js'

const LOCATION = 'projects/demo/locations/us-central1'
const NAME = `${LOCATION}/queues/q`

const coded = (code: number, details = 'no luck') => Object.assign(new Error(`${code}: ${details}`), { code, details })
const MISSING = coded(5, 'Queue does not exist.')
const DENIED = coded(7, 'lacks it')
const EXISTS = coded(6, 'Queue already exists')
const UNAVAILABLE = coded(14, 'try again')
const TIMEOUT = { timeout: 5000 }

/** Queues behind a client that answers each call with the next of these answers. */
function queuesOf (t: Test, answers: unknown[], options: object = {}) {
  t.intercept(systemClock, 'setTimeout', { value: (callback: () => void) => { queueMicrotask(callback) } })
  const calls: unknown[][] = []
  const method = (name: string) => async (...args: unknown[]) => {
    calls.push([name, ...args])
    const answer = answers.shift()
    if (answer instanceof Error) throw answer
    return [answer]
  }
  const names = ['getQueue', 'createQueue', 'updateQueue', 'pauseQueue', 'resumeQueue', 'testIamPermissions']
  const client = { ...Object.fromEntries(names.map(name => [name, method(name)])), getProjectId: async () => 'of-the-credentials' }
  const config = { client, project: 'demo', location: 'us-central1', sendTimeoutMs: 10_000, ...options } as unknown as Config
  return { queues: new CloudQueues(config, new AbortController().signal), calls, client, config }
}

async function rejection (work: Promise<unknown>): Promise<Error> {
  return await work.then(() => { throw new Error('it succeeded') }, (error: Error) => error)
}

const rateLimits = { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 6 }
const ABSENT = {
  'rateLimits.maxDispatchesPerSecond': 0,
  'rateLimits.maxConcurrentDispatches': 0,
  'retryConfig.maxAttempts': 0,
  'retryConfig.maxRetrySeconds': 0,
  'retryConfig.minBackoffSeconds': 0,
  'retryConfig.maxBackoffSeconds': 0,
  'retryConfig.maxDoublings': 0,
  state: 'STATE_UNSPECIFIED'
}

t.test('a queue is read with all its settings, whose durations have microseconds', async t => {
  const retryConfig = {
    maxAttempts: 7,
    maxDoublings: 8,
    maxRetryDuration: { seconds: '60' },
    minBackoff: { nanos: 100_000_400 },
    maxBackoff: { seconds: 3, nanos: 500_000_600 }
  }
  const { queues, calls } = queuesOf(t, [{ rateLimits, retryConfig, state: 'RUNNING' }, {}, MISSING])
  t.strictSame(Object.fromEntries((await queues.read('q'))!), {
    'rateLimits.maxDispatchesPerSecond': 5,
    'rateLimits.maxConcurrentDispatches': 6,
    'retryConfig.maxAttempts': 7,
    'retryConfig.maxRetrySeconds': 60,
    'retryConfig.minBackoffSeconds': 0.1,
    'retryConfig.maxBackoffSeconds': 3.500001,
    'retryConfig.maxDoublings': 8,
    state: 'RUNNING'
  })
  t.strictSame(Object.fromEntries((await queues.read('q'))!), ABSENT)
  t.equal(await queues.read('q'), undefined)
  t.strictSame(calls[0], ['getQueue', { name: NAME }, { ...TIMEOUT, retry: null }])
})

t.test('a queue is created with its settings, and paused by a call of its own', async t => {
  const fields: QueueFields = new Map<string, number | string>([
    ['rateLimits.maxDispatchesPerSecond', 5], ['rateLimits.maxConcurrentDispatches', 6], ['retryConfig.maxAttempts', -1],
    ['retryConfig.maxRetrySeconds', 60.5], ['retryConfig.minBackoffSeconds', 0.1], ['retryConfig.maxBackoffSeconds', 3600], ['retryConfig.maxDoublings', 16]
  ])
  const { queues, calls } = queuesOf(t, [{ state: 'RUNNING' }, { state: 'RUNNING' }, { state: 'PAUSED' }])
  t.equal((await queues.create('q', fields)).get('state'), 'RUNNING')
  const retryConfig = {
    maxAttempts: -1,
    maxRetryDuration: { seconds: 60, nanos: 500_000_000 },
    minBackoff: { seconds: 0, nanos: 100_000_000 },
    maxBackoff: { seconds: 3600, nanos: 0 },
    maxDoublings: 16
  }
  const queue = { name: NAME, rateLimits, retryConfig }
  t.strictSame(calls, [['createQueue', { parent: LOCATION, queue }, TIMEOUT]])
  t.equal((await queues.create('q', LETTER_QUEUE)).get('state'), 'PAUSED')
  t.strictSame(calls.slice(1), [
    ['createQueue', { parent: LOCATION, queue: { name: NAME, retryConfig: { maxAttempts: -1 } } }, TIMEOUT],
    ['pauseQueue', { name: NAME }, TIMEOUT]
  ])
})

t.test('a queue that exists is created only by an earlier try of the same call', async t => {
  const { queues } = queuesOf(t, [UNAVAILABLE, EXISTS, { state: 'RUNNING' }])
  t.equal((await queues.create('q', new Map())).get('state'), 'RUNNING')
  const exists = await rejection(queuesOf(t, [EXISTS]).queues.create('q', new Map()))
  t.equal(exists.cause, EXISTS)
  const gone = await rejection(queuesOf(t, [UNAVAILABLE, EXISTS, MISSING]).queues.create('q', new Map()))
  t.equal(gone.cause, EXISTS)
  const denied = await rejection(queuesOf(t, [UNAVAILABLE, DENIED]).queues.create('q', new Map()))
  t.equal(denied.cause, DENIED)
})

t.test('an update writes the named settings, and the state by a call of its own', async t => {
  const { queues, calls } = queuesOf(t, [{ state: 'RUNNING' }, { state: 'RUNNING' }, { state: 'PAUSED' }, { state: 'PAUSED' }, {}])
  t.equal((await queues.update('q', new Map([['retryConfig.maxBackoffSeconds', 2]]))).get('state'), 'RUNNING')
  t.equal((await queues.update('q', new Map<string, number | string>([['rateLimits.maxDispatchesPerSecond', 1], ['state', 'PAUSED']]))).get('state'), 'PAUSED')
  t.equal((await queues.update('q', new Map([['state', 'PAUSED']]))).get('state'), 'PAUSED')
  await queues.update('q', new Map())
  const maxBackoff = { seconds: 2, nanos: 0 }
  t.strictSame(calls, [
    ['updateQueue', { queue: { name: NAME, retryConfig: { maxBackoff } }, updateMask: { paths: ['retry_config.max_backoff'] } }, TIMEOUT],
    [
      'updateQueue',
      { queue: { name: NAME, rateLimits: { maxDispatchesPerSecond: 1 } }, updateMask: { paths: ['rate_limits.max_dispatches_per_second'] } }, TIMEOUT
    ],
    ['pauseQueue', { name: NAME }, TIMEOUT],
    ['pauseQueue', { name: NAME }, TIMEOUT],
    ['updateQueue', { queue: { name: NAME }, updateMask: { paths: [] } }, TIMEOUT]
  ])
})

t.test('each setting is named as the service names it', async t => {
  const { queues, calls } = queuesOf(t, [{}])
  await queues.update('q', new Map(Object.keys(ABSENT).filter(key => key !== 'state').map(key => [key, 1])))
  t.strictSame((calls[0]![1] as { updateMask: { paths: string[] } }).updateMask.paths, [
    'rate_limits.max_dispatches_per_second', 'rate_limits.max_concurrent_dispatches', 'retry_config.max_attempts',
    'retry_config.max_retry_duration', 'retry_config.min_backoff', 'retry_config.max_backoff', 'retry_config.max_doublings'
  ])
})

t.test('the state is set to either value', async t => {
  const { queues, calls } = queuesOf(t, [{ state: 'RUNNING' }, { state: 'PAUSED' }])
  t.equal((await queues.setState('q', 'RUNNING')).get('state'), 'RUNNING')
  t.equal((await queues.setState('q', 'PAUSED')).get('state'), 'PAUSED')
  t.strictSame(calls, [['resumeQueue', { name: NAME }, TIMEOUT], ['pauseQueue', { name: NAME }, TIMEOUT]])
})

t.test('a failed call rejects with the queue, the role and the cause', async t => {
  const call: Record<string, (queues: CloudQueues) => Promise<unknown>> = {
    'roles/cloudtasks.viewer': async queues => await queues.read('q'),
    'roles/cloudtasks.queueAdmin': async queues => await queues.create('q', new Map()),
    '=roles/cloudtasks.queueAdmin': async queues => await queues.update('q', new Map([['retryConfig.maxAttempts', 1]])),
    ' --location=us-central1 --project=demo': async queues => await queues.setState('q', 'PAUSED')
  }
  for (const [fact, work] of Object.entries(call)) {
    const error = await rejection(work(queuesOf(t, [DENIED]).queues))
    t.equal(error.cause, DENIED)
    t.ok(error.message.startsWith("queue 'q': ") && error.message.includes(fact), error.message)
  }
  const ofCredentials = await rejection(queuesOf(t, [DENIED], { project: undefined }).queues.read('q'))
  t.ok(ofCredentials.message.includes('--project=of-the-credentials'), ofCredentials.message)
  t.equal((await rejection(queuesOf(t, [MISSING]).queues.update('q', new Map()))).message, "queue 'q': Queue does not exist.")
})

t.test('permissions that are lacking are those that the service does not return', async t => {
  const asked = ['a', 'b', 'c']
  const { queues, calls, client } = queuesOf(t, [{ permissions: ['b'] }, { permissions: [] }, {}, coded(12)])
  t.strictSame(await queues.lackingPermissions('q', asked), ['a', 'c'])
  t.strictSame(calls, [['testIamPermissions', { resource: NAME, permissions: asked }, { ...TIMEOUT, retry: null }]])
  t.strictSame(await queues.lackingPermissions('q', asked), asked)
  t.strictSame(await queues.lackingPermissions('q', asked), [], 'an answer without a list says nothing')
  t.strictSame(await queues.lackingPermissions('q', asked), [], 'so does an error')
  delete (client as Record<string, unknown>)['testIamPermissions']
  t.strictSame(await queues.lackingPermissions('q', asked), [], 'and a client without the method')
})

interface Line { readonly level: string, readonly fields: Record<string, unknown>, readonly message: string }

/** What the check of the dead-letter queue logs with these answers of the service, and the calls that it made. */
async function check (t: Test, answers: unknown[], options: object = {}, closing = new AbortController()) {
  const lines: Line[] = []
  const { queues, calls, config } = queuesOf(t, answers, { deadLetterQueue: 'dead', ...options })
  const add = (level: string) => (fields: Record<string, unknown>, message: string) => { lines.push({ level, fields, message }) }
  await checkLetterQueue(queues, config, { warn: add('warn'), info: add('info') } as never, closing.signal)
  return { lines, calls: calls.map(([method]) => method) }
}

t.test('a missing dead-letter queue is created in an emulator only', async t => {
  const emulator = { emulatorHost: 'localhost:1' }
  const created = await check(t, [MISSING, {}, { state: 'PAUSED' }], emulator)
  t.strictSame(created.lines.map(({ level, fields }) => ({ level, fields })), [{ level: 'info', fields: { deadLetterQueue: 'dead' } }])
  t.strictSame(created.calls, ['getQueue', 'createQueue', 'pauseQueue'])

  const byAnother = await check(t, [MISSING, EXISTS, { state: 'PAUSED' }], emulator)
  t.strictSame(byAnother.lines.map(({ level }) => level), ['info'], 'another worker has created it')
  const failed = await check(t, [MISSING, coded(3), MISSING], emulator)
  t.strictSame(failed.lines.map(({ level, fields }) => [level, (fields['err'] as Error).cause !== undefined]), [['warn', true]])

  const missing = await check(t, [MISSING], { project: undefined })
  t.strictSame(missing.calls, ['getQueue'])
  t.strictSame(missing.lines.map(({ level, fields }) => ({ level, fields })), [{ level: 'warn', fields: { deadLetterQueue: 'dead' } }])
  const place = '--location=us-central1 --project=PROJECT'
  const { message } = missing.lines[0]!
  t.ok(message.includes(`'gcloud tasks queues create dead ${place} --max-attempts=unlimited'`), message)
  t.ok(message.includes(`'gcloud tasks queues pause dead ${place}'`), message)
})

t.test('a dead-letter queue that exists is not changed, and its faults are logged', async t => {
  for (const [queue, fields] of [
    [{ state: 'PAUSED', retryConfig: { maxAttempts: -1 } }, []],
    [{ state: 'RUNNING', retryConfig: { maxAttempts: -1 } }, [{ deadLetterQueue: 'dead', state: 'RUNNING' }]],
    [{ state: 'PAUSED', retryConfig: { maxAttempts: 5 } }, [{ deadLetterQueue: 'dead', maxAttempts: 5 }]],
    [{ state: 'DISABLED' }, [{ deadLetterQueue: 'dead', state: 'DISABLED' }, { deadLetterQueue: 'dead', maxAttempts: 0 }]]
  ] as const) {
    for (const emulatorHost of [undefined, 'localhost:1']) {
      const { lines, calls } = await check(t, [queue], { emulatorHost })
      t.strictSame(lines.map(line => line.fields), fields)
      t.ok(lines.every(({ level }) => level === 'warn'))
      t.strictSame(calls, ['getQueue'])
    }
  }
})

t.test('the check needs a dead-letter queue, logs what prevents it, and ends silently if the server closes', async t => {
  t.strictSame(await check(t, [], { deadLetterQueue: undefined }), { lines: [], calls: [] })
  const denied = await check(t, [DENIED])
  t.equal((denied.lines[0]!.fields['err'] as Error).cause, DENIED)
  t.ok(denied.lines[0]!.message.includes('roles/cloudtasks.viewer'), denied.lines[0]!.message)
  const closing = new AbortController()
  closing.abort()
  for (const answer of [MISSING, DENIED, { state: 'RUNNING' }]) t.strictSame((await check(t, [answer], {}, closing)).lines, [])
})

t.test('retry settings of a queue are read once, without retries', async t => {
  const setUp = (answers: unknown[], options: object = {}) => {
    const { calls, config } = queuesOf(t, answers, options)
    return { calls, settings: new CloudRetrySettings(config, new ClientSource(config)) }
  }
  const defaults = DEFAULT_QUEUE_SETTINGS.retryConfig
  for (const [queue, given] of [
    [{}, {}],
    [{ retryConfig: null }, {}],
    [{ retryConfig: { maxAttempts: 0, maxRetryDuration: null } }, {}],
    [{ retryConfig: { maxAttempts: -1, maxRetryDuration: { seconds: '60', nanos: 500_000_000 } } }, { maxAttempts: -1, maxRetrySeconds: 60.5 }],
    [{ retryConfig: { maxAttempts: 3, maxRetryDuration: { nanos: 500_000_000 } } }, { maxAttempts: 3, maxRetrySeconds: 0.5 }]
  ] as const) {
    const { calls, settings } = setUp([queue])
    t.strictSame(await settings.ofQueue('q'), { outcome: 'read', retryConfig: { ...defaults, ...given } })
    t.strictSame(calls, [['getQueue', { name: NAME }, { timeout: 10_000, retry: null }]])
    t.equal(settings.ofTask, undefined, 'with a given client')
  }
  for (const [error, outcome, fact] of [
    [DENIED, 'denied', 'roles/cloudtasks.viewer on queue q in us-central1'],
    [coded(16), 'denied', 'gcloud auth application-default login'],
    [UNAVAILABLE, 'failed', 'Cloud Tasks could not be reached (UNAVAILABLE: try again)'],
    [coded(9, 'Queue does not exist.'), 'failed', 'Queue does not exist.']
  ] as const) {
    const { calls, settings } = setUp([error])
    const reading = await settings.ofQueue('q') as { outcome: string, problem: string, cause: unknown }
    t.strictSame([reading.outcome, reading.cause, calls.length], [outcome, error, 1])
    t.ok(reading.problem.includes(fact), reading.problem)
  }
  t.strictSame(await setUp([MISSING]).settings.ofQueue('q'), { outcome: 'missing' })
  const { config } = queuesOf(t, [], { project: undefined })
  const client = { ...config.client, getProjectId: async () => { throw new Error('Unable to detect a Project Id') } }
  const noProject = new CloudRetrySettings(config, new ClientSource({ ...config, client } as never))
  t.equal((await noProject.ofQueue('q')).outcome, 'denied')
  const ofCredentials = await setUp([DENIED], { project: undefined }).settings.ofQueue('q') as { problem: string }
  t.ok(ofCredentials.problem.includes('--project=of-the-credentials'), ofCredentials.problem)
})

t.test("a task's own retry settings are read without retries, and are missing where it has none", async t => {
  const { config } = queuesOf(t, [])
  for (const [retryConfig, reading] of [
    [{ maxAttempts: 3 }, { outcome: 'read', retryConfig: { ...DEFAULT_QUEUE_SETTINGS.retryConfig, maxAttempts: 3 } }],
    [null, { outcome: 'missing' }]
  ] as const) {
    const calls: unknown[] = []
    const client = { getTask: async (...args: unknown[]) => { calls.push(args); return [{ retryConfig }] } }
    const clients = { openBeta: async () => ({ client, project: 'demo' }) }
    const settings = new CloudRetrySettings({ ...config, client: undefined } as never, clients as never)
    t.strictSame(await settings.ofTask!('q', 'a'), reading)
    t.strictSame(calls, [[{ name: `${NAME}/tasks/a` }, { timeout: 10_000, retry: null }]])
  }
})
