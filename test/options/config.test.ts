import t from 'tap'
import { resolveConfig, type Config } from '../../lib/options/config.js'

const tasks = {}
type Variables = Readonly<Record<string, string>>

function resolve (options: object = {}, environment: Variables = {}, worker = false): Config {
  return resolveConfig({ tasks, ...options }, environment, worker)
}

/** The error with which options are rejected. */
function rejection (options: object, environment: Variables = {}, worker = false): { readonly code: string, readonly message: string } {
  try {
    resolve(options, environment, worker)
  } catch (error) {
    return error as { code: string, message: string }
  }
  return { code: 'was accepted', message: '' }
}

const CLOUD = { transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url: 'https://worker.example.com' } }

t.test('without options, the defaults are those in the documentation', async t => {
  t.strictSame(resolve(), {
    prefix: '/tasks',
    queue: 'default',
    enqueueConcurrency: 64,
    invalidPayload: 'retry',
    exposeRoutes: false,
    transport: 'local',
    embedded: true,
    volatile: true,
    maxDispatchesPerSecond: 1_000_000,
    target: { type: 'http', url: 'http://localhost', audience: 'http://localhost' },
    callers: { verify: 'secret' },
    emulatorHost: undefined,
    project: undefined,
    location: 'local',
    queues: new Map(),
    directory: undefined,
    taskTombstoneMs: 3_600_000,
    localDelivery: 'loopback',
    sendTimeoutMs: 10_000,
    closeGraceMs: 8000
  })
})

t.test('all options are kept, durations in milliseconds, and the transport cloud has its own facts', async t => {
  const [onExhausted, onDropped, client] = [() => {}, () => {}, { createTask: () => {} }]
  const { tasks: _, ...options } = {
    tasks,
    prefix: '',
    queue: 'mail',
    deadLetterQueue: 'dead',
    client,
    enqueueConcurrency: 5,
    invalidPayload: 'drop',
    exposeRoutes: true,
    logLevel: 'warn',
    onExhausted,
    onDropped
  }
  const config = resolve({
    ...options,
    ...CLOUD,
    handlers: {},
    auth: false,
    local: { directory: '/data', taskTombstoneSeconds: 1.5, delivery: 'inject' },
    sendTimeoutSeconds: 0.1,
    closeGraceSeconds: 0.25
  })
  t.strictSame(config, {
    ...options,
    transport: 'cloud',
    embedded: false,
    volatile: false,
    maxDispatchesPerSecond: 500,
    target: { type: 'http', url: 'https://worker.example.com', audience: 'https://worker.example.com' },
    callers: { verify: 'none' },
    emulatorHost: undefined,
    project: 'demo',
    location: 'us-central1',
    queues: new Map(),
    directory: '/data',
    taskTombstoneMs: 1500,
    localDelivery: 'inject',
    sendTimeoutMs: 100,
    closeGraceMs: 250
  } as never)
})

t.test('the configuration is frozen', async t => {
  const config = resolve()
  t.strictSame([Object.isFrozen(config), Object.isFrozen(config.target), Object.isFrozen(config.callers)], [true, true, true])
})

t.test('a number outside of its range is rejected, and its limits are accepted', async t => {
  const nested = (path: string, value: unknown): object =>
    path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as object
  for (const [path, min, max, below, above, problem] of [
    ['sendTimeoutSeconds', 0.1, 600, 0.09, 600.1, 'must be a number from 0.1 to 600'],
    ['enqueueConcurrency', 1, 1000, 0, 1001, 'must be a whole number from 1 to 1000'],
    ['closeGraceSeconds', 0, 86_400, -0.1, 86_401, 'must be a number from 0 to 86400'],
    ['local.taskTombstoneSeconds', 0, 777_600, -1, 777_601, 'must be a number from 0 to 777600'],
    ['queues.a.rateLimits.maxDispatchesPerSecond', 0.001, 1_000_000, 0, 1_000_001, 'must be a number from 0.001 to 1000000'],
    ['queues.a.rateLimits.maxConcurrentDispatches', 1, 5000, 0, 5001, 'must be a whole number from 1 to 5000'],
    ['queues.a.retryConfig.maxAttempts', -1, 1_000_000, -2, 1_000_001, 'must be a whole number from -1 to 1000000'],
    ['queues.a.retryConfig.maxRetrySeconds', 0, 31_622_400, -1, 31_622_401, 'must be a number from 0 to 31622400'],
    ['queues.a.retryConfig.minBackoffSeconds', 0, 31_622_400, -1, 31_622_401, 'must be a number from 0 to 31622400'],
    ['queues.a.retryConfig.maxBackoffSeconds', 0.001, 31_622_400, 0, 31_622_401, 'must be a number from 0.001 to 31622400'],
    ['queues.a.retryConfig.maxDoublings', 0, 1000, -1, 1001, 'must be a whole number from 0 to 1000']
  ] as const) {
    for (const value of [min, max]) t.doesNotThrow(() => resolve(nested(path, value)), `${path} ${value}`)
    for (const value of [below, above, NaN, String(min), null, ...(problem.includes('whole') ? [1.5] : [])]) {
      const { code, message } = rejection(nested(path, value))
      t.strictSame([code, message], ['FST_TASKS_INVALID_OPTION', `'${path}' ${problem}`], `${path} ${value}`)
    }
  }
})

t.test('any other invalid option is rejected with its name', async t => {
  for (const [options, name] of [
    [{ tranport: 'local' }, "'transport'"],
    [{ transport: 'Local' }, "'transport'"],
    [{ transport: true }, "'transport'"],
    [{ prefix: 'tasks' }, "'prefix'"],
    [{ prefix: '/tasks/' }, "'prefix'"],
    [{ prefix: '/' }, "'prefix'"],
    [{ prefix: '/:tenant' }, "'prefix'"],
    [{ prefix: 'x/tasks' }, "'prefix'"],
    [{ project: 42 }, "'project'"],
    [{ project: 'a/b' }, "'project'"],
    [{ location: 'us central1' }, "'location'"],
    [{ queue: 'a_b' }, "'queue'"],
    [{ queue: '' }, "'queue'"],
    [{ deadLetterQueue: 'a_b' }, "'deadLetterQueue'"],
    [{ deadLetterQueue: '' }, "'deadLetterQueue'"],
    [{ local: { dir: '/tmp' } }, "'local'"],
    [{ local: { directory: '' } }, "'local.directory'"],
    [{ local: { delivery: 'http' } }, "'local.delivery'"],
    [{ client: {} }, "'client'"],
    [{ client: null }, "'client'"],
    [{ invalidPayload: 'ignore' }, "'invalidPayload'"],
    [{ exposeRoutes: 1 }, "'exposeRoutes'"],
    [{ logLevel: 'loud' }, "'logLevel'"],
    [{ onExhausted: 'log' }, "'onExhausted'"],
    [{ onDropped: {} }, "'onDropped'"]
  ] as const) {
    const { code, message } = rejection(options)
    t.equal(code, 'FST_TASKS_INVALID_OPTION', JSON.stringify(options))
    t.ok(message.includes(name), `${JSON.stringify(options)}: ${message}`)
  }
})

t.test('a prefix may have several segments, and a log level is one of those that Fastify has', async t => {
  t.equal(resolve({ prefix: '/v1/tasks_~.-X' }).prefix, '/v1/tasks_~.-X')
  for (const logLevel of ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']) t.equal(resolve({ logLevel }).logLevel, logLevel)
})

const cloud = { CLOUD_TASKS_LOCATION: 'europe-west1', CLOUD_TASKS_TARGET_URL: 'https://worker.example.com' }

t.test('the environment chooses the transport', async t => {
  for (const [environment, transport] of [
    [{}, 'local'],
    [{ NODE_ENV: 'development' }, 'local'],
    [{ ...cloud, K_SERVICE: 'web' }, 'cloud'],
    [{ ...cloud, GAE_SERVICE: 'default' }, 'cloud'],
    [{ ...cloud, K_SERVICE: 'web', NODE_ENV: 'production' }, 'cloud'],
    [{ ...cloud, CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:8123', GOOGLE_CLOUD_PROJECT: 'demo' }, 'cloud'],
    [{ ...cloud, CLOUD_TASKS_TRANSPORT: 'cloud' }, 'cloud'],
    [{ K_SERVICE: 'web', CLOUD_TASKS_TRANSPORT: 'local' }, 'local'],
    [{ CLOUD_TASKS_TRANSPORT: '' }, 'local']
  ] as Array<[Variables, string]>) t.equal(resolve({}, environment).transport, transport, JSON.stringify(environment))
})

t.test('the environment sets options, is overruled by them, and an empty variable counts as unset', async t => {
  const environment = {
    CLOUD_TASKS_QUEUE: 'env-queue',
    CLOUD_TASKS_DEAD_LETTER_QUEUE: 'env-dead',
    GOOGLE_CLOUD_PROJECT: 'env-project',
    CLOUD_TASKS_LOCATION: 'env-location',
    CLOUD_TASKS_DIRECTORY: '/env'
  }
  const chosen = ({ queue, deadLetterQueue, project, location, directory }: Config) =>
    ({ queue, deadLetterQueue, project, location, directory })
  t.strictSame(chosen(resolve({}, environment)), {
    queue: 'env-queue', deadLetterQueue: 'env-dead', project: 'env-project', location: 'env-location', directory: '/env'
  })
  const options = { queue: 'mine', deadLetterQueue: 'mine-dead', project: 'mine', location: 'here', local: { directory: '/mine' } }
  const { local, ...rest } = options
  t.strictSame(chosen(resolve({ ...options, transport: 'local' }, { ...environment, CLOUD_TASKS_TRANSPORT: 'cloud' })),
    { ...rest, directory: local.directory })
  const empty = Object.fromEntries(Object.keys(environment).map(name => [name, '']))
  t.strictSame(chosen(resolve({}, empty)), chosen(resolve()))
})

t.test('the environment gives the target and its account', async t => {
  const environment = { ...cloud, CLOUD_TASKS_TRANSPORT: 'cloud', CLOUD_TASKS_SERVICE_ACCOUNT: 'sa@demo.iam.gserviceaccount.com' }
  t.strictSame(resolve({}, environment).target, {
    type: 'http',
    url: 'https://worker.example.com',
    serviceAccountEmail: 'sa@demo.iam.gserviceaccount.com',
    audience: 'https://worker.example.com'
  })
  const appEngine = { CLOUD_TASKS_LOCATION: 'us-central1', GAE_SERVICE: 'web' }
  t.strictSame(resolve({}, appEngine).target, { type: 'appEngine' })
  t.equal(resolve({}, { ...appEngine, CLOUD_TASKS_TARGET_URL: 'https://worker.example.com' }).target.type, 'http', 'where it has no URL')
  t.equal(resolve({ target: { type: 'http', url: 'https://w.example' } }, appEngine).target.type, 'http', 'and no option')
})

t.test('an invalid variable is rejected with its name', async t => {
  for (const [name, value] of [
    ['CLOUD_TASKS_TRANSPORT', 'clod'],
    ['CLOUD_TASKS_QUEUE', 'a_b'],
    ['CLOUD_TASKS_DEAD_LETTER_QUEUE', 'a_b'],
    ['GOOGLE_CLOUD_PROJECT', 'a/b'],
    ['CLOUD_TASKS_LOCATION', 'a/b']
  ] as const) {
    const { code, message } = rejection({}, { [name]: value })
    t.strictSame([code, message.split(' ', 1)[0]], ['FST_TASKS_INVALID_OPTION', name])
  }
})

t.test('in production a transport must be chosen, and the embedded queue needs a directory', async t => {
  const NODE_ENV = 'production'
  t.equal(rejection({}, { NODE_ENV }).code, 'FST_TASKS_NOT_FOR_PRODUCTION')
  t.equal(rejection({ transport: 'local' }, { NODE_ENV }).code, 'FST_TASKS_NOT_FOR_PRODUCTION')
  t.equal(rejection({}, { NODE_ENV, CLOUD_TASKS_DIRECTORY: '/data' }).code, 'FST_TASKS_NOT_FOR_PRODUCTION')
  t.equal(resolve({ transport: 'local' }, { NODE_ENV, CLOUD_TASKS_DIRECTORY: '/data' }).volatile, false)
  t.equal(resolve({ transport: 'local', local: { directory: '/data' } }, { NODE_ENV }).directory, '/data')
  t.equal(resolve({ transport: 'local' }, { NODE_ENV: 'staging' }).volatile, true)
})

t.test('settings that the transport cloud lacks are named together, each with its option and its variable', async t => {
  const LOCATION = "'location' or CLOUD_TASKS_LOCATION: "
  const PROJECT = "'project' or GOOGLE_CLOUD_PROJECT: "
  const TARGET = "'target' or CLOUD_TASKS_TARGET_URL: "
  const ACCOUNT = "'target.serviceAccountEmail' or CLOUD_TASKS_SERVICE_ACCOUNT: "
  const lacks = (options: object, environment: Variables = {}, worker = true): string[] => {
    const { code, message } = rejection({ transport: 'cloud', ...options }, environment, worker)
    if (code !== 'FST_TASKS_MISSING_SETTING') return [code]
    const [, settings, list] = /^The transport 'cloud' lacks (a setting|settings): (.*)$/.exec(message)!
    const named = list!.split('; ').map(one => one.slice(0, one.indexOf(': ') + 2))
    t.equal(settings, named.length === 1 ? 'a setting' : 'settings')
    return named
  }
  const emulator = { CLOUD_TASKS_EMULATOR_HOST: '[::1]:8123' }
  const url = 'https://worker.example.com'
  t.strictSame(lacks({}, emulator), [LOCATION, PROJECT, TARGET, ACCOUNT])
  t.strictSame(lacks({}), [LOCATION, TARGET, ACCOUNT], 'the credentials have a project')
  t.strictSame(lacks({}, emulator, false), [LOCATION, PROJECT, TARGET], 'a producer verifies no callers')
  t.strictSame(lacks({ auth: false }, emulator), [LOCATION, PROJECT, TARGET])
  t.strictSame(lacks({ auth: 'emulator' }, emulator), [LOCATION, PROJECT, TARGET], 'an emulator signs for any account')
  t.strictSame(lacks({ ...CLOUD, project: undefined }, emulator), [PROJECT, ACCOUNT])
  t.strictSame(lacks({ ...CLOUD, project: undefined }), [ACCOUNT])
  t.strictSame(lacks({ ...CLOUD, location: undefined, auth: { serviceAccountEmail: 'a@b' } }), [LOCATION])
  t.strictSame(lacks({ ...CLOUD, location: undefined, target: { type: 'http', url, serviceAccountEmail: 'a@b' } }), [LOCATION])
  t.strictSame(lacks({ ...CLOUD, location: undefined, target: { type: 'appEngine' } }), [LOCATION])
  t.strictSame(lacks({ ...CLOUD, target: { type: 'http', serviceAccountEmail: 'a@b' } }), [TARGET])
  t.strictSame(lacks({ ...CLOUD, target: { type: 'http', url, serviceAccountEmail: 'a@b' } }), ['was accepted'])
  const elsewhere = { K_SERVICE: 'web', CLOUD_RUN_REGION: 'us-east1', GOOGLE_CLOUD_REGION: 'us-east1', FUNCTION_REGION: 'us-east1' }
  t.strictSame(lacks({ ...CLOUD, location: undefined }, elsewhere, false), [LOCATION], "the app's region need not be the queue's")
})

t.test('the address of an emulator is HOST:PORT without a scheme', async t => {
  const options = { ...CLOUD, auth: false }
  for (const host of ['localhost:8123', '127.0.0.1:1', '[::1]:8123', '[FE80::A]:65535', 'emulator.internal:10']) {
    t.equal(resolve(options, { CLOUD_TASKS_EMULATOR_HOST: host }).emulatorHost, host)
  }
  for (const host of [
    'localhost', '127.0.0.1', 'localhost:', ':8123', 'localhost:0', 'localhost:08123', 'localhost:99999', 'localhost:123456',
    'localhost:x', 'http://127.0.0.1:8123', 'localhost:8123/', 'localhost:8123 ', ' localhost:8123', 'user@localhost:8123', 'a?b:1', 'a#b:1',
    '::1:8123', '[::1]', '[::g]:1', '[]:1', 'a[b]:1', 'x[::1]:1'
  ]) t.equal(rejection(options, { CLOUD_TASKS_EMULATOR_HOST: host }).code, 'FST_TASKS_INVALID_OPTION', host)
  t.equal(resolve(options, { CLOUD_TASKS_EMULATOR_HOST: '' }).emulatorHost, undefined)
  t.equal(resolve({ transport: 'local' }, { CLOUD_TASKS_EMULATOR_HOST: 'localhost:1' }).emulatorHost, undefined)
})
