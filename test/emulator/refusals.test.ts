import t from 'tap'
import { loadProtos, messageType } from '../../lib/emulator/proto/protos.js'
import { serveBoth, type ServedService } from '../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/'
const httpRequest = { url }
const task = (id: string) => `${queue}/tasks/${id}`

const QUEUE_MISSING = 'Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.'
const ENTITY_MISSING = 'Requested entity was not found.'
const QUEUE_NAME = 'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".'
const TASK_NAME = 'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"'
const EXISTED_RECENTLY =
  'The task cannot be created because a task with this name existed too recently. For more information about task ' +
  'de-duplication see https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create#body.request_body.FIELDS.task.'
const TASK_GONE =
  'The task no longer exists, though a task with this name existed recently. The task either successfully completed or was deleted.'
const taskId = (id: string) => `Task ID "${id}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_). ` +
  'Task ID must between 1 and 500 characters.'

const helps = (description: string) => [{ '@type': 'type.googleapis.com/google.rpc.Help', links: [{ description }] }]

/** What is called, in REST's words; the same call by gRPC follows from it. */
type Call = readonly [verb: string, resource: string, body?: any]

interface Row {
  readonly what: string
  readonly call: Call
  readonly code: string
  readonly message: string
  readonly details?: object[]
  /** Where the two interfaces cannot be asked the same. */
  readonly only?: 'grpc'
}

const createQueue = (settings: object, name = `${parent}/queues/new`): Call => ['CreateQueue', parent, { name, ...settings }]
const createTask = (fields: object): Call => ['CreateTask', queue, { task: fields }]

const invalid = (what: string, call: Call, message: string, details?: object[]): Row =>
  ({ what, call, code: 'INVALID_ARGUMENT', message, ...(details === undefined ? undefined : { details }) })

const rows: Row[] = [
  { what: 'a queue that exists', call: createQueue({}, queue), code: 'ALREADY_EXISTS', message: 'Queue already exists' },
  {
    what: 'a queue that existed recently',
    call: createQueue({}, `${parent}/queues/deleted`),
    code: 'FAILED_PRECONDITION',
    message: 'The queue cannot be created because a queue with this name existed too recently.'
  },
  invalid('a queue with a bad name', createQueue({}, `${parent}/queues/a_b`), QUEUE_NAME, helps('Definition of queue name')),
  invalid('a queue with a name that is too long', createQueue({}, `${parent}/queues/${'a'.repeat(101)}`), QUEUE_NAME),
  invalid('a queue with a malformed name', createQueue({}, 'q'), QUEUE_NAME),
  invalid('a queue without a name', createQueue({}, ''), QUEUE_NAME),
  invalid(
    'a queue of another location',
    createQueue({}, 'projects/p/locations/m/queues/q'),
    `The queue 'projects/p/locations/m/queues/q' is not in the location from request ('${parent}').`
  ),
  {
    ...invalid(
      'a malformed parent',
      ['CreateQueue', 'not-a-valid-parent', { name: queue }],
      'Invalid resource field value in the request.'
    ),
    only: 'grpc'
  },
  ...['ListQueues', 'CreateQueue'].map(verb =>
    invalid(
      `${verb} for all locations at once`,
      [verb, 'projects/p/locations/-', verb === 'ListQueues' ? undefined : { name: 'projects/p/locations/-/queues/q' }],
      "Location '-' is not a valid location. Use ListLocations to list valid locations."
    )
  ),
  ...['ListTasks', 'GetQueue', 'DeleteQueue', 'PauseQueue'].map(verb =>
    invalid(
      `${verb} for all locations at once`,
      [verb, 'projects/p/locations/-/queues/q'],
      "Location '-' is not a valid location. Use ListLocations to list valid locations."
    )
  ),
  invalid(
    'a negative rate',
    createQueue({ rateLimits: { maxDispatchesPerSecond: -1 } }),
    'RateLimits.maxDispatchesPerSecond cannot be negative.'
  ),
  invalid(
    'a rate that is too high',
    createQueue({ rateLimits: { maxDispatchesPerSecond: 500.1 } }),
    'RateLimits.maxDispatchesPerSecond must be less than or equal to 500.'
  ),
  invalid(
    'a negative concurrency',
    createQueue({ rateLimits: { maxConcurrentDispatches: -1 } }),
    'RateLimits.maxConcurrentDispatches cannot be negative.'
  ),
  invalid(
    'a concurrency that is too high',
    createQueue({ rateLimits: { maxConcurrentDispatches: 5001 } }),
    'RateLimits.maxConcurrentDispatches must be less than or equal to 5000.'
  ),
  invalid(
    'attempts below -1',
    createQueue({ retryConfig: { maxAttempts: -2 } }),
    'RetryConfig.maxAttempts must be greater or equal to -1.'
  ),
  invalid('negative doublings', createQueue({ retryConfig: { maxDoublings: -1 } }), 'RetryConfig.maxDoublings cannot be negative.'),
  invalid('a negative backoff', createQueue({ retryConfig: { minBackoff: '-1s' } }), 'RetryConfig.minBackoff cannot be negative.'),
  invalid(
    'a least backoff above the greatest',
    createQueue({ retryConfig: { minBackoff: '2s', maxBackoff: '1.5s' } }),
    'RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.'
  ),
  invalid(
    'a negative retry duration',
    createQueue({ retryConfig: { maxRetryDuration: '-1s' } }),
    'RetryConfig.maxRetryDuration cannot be negative.'
  ),
  invalid(
    'a sampling ratio above 1',
    createQueue({ stackdriverLoggingConfig: { samplingRatio: 1.1 } }),
    'StackdriverLoggingConfig.samplingRatio must be less than or equal to 1.'
  ),

  ...['GetQueue', 'PauseQueue', 'ResumeQueue', 'PurgeQueue', 'ListTasks', 'GetIamPolicy', 'SetIamPolicy'].flatMap(verb =>
    ['missing', 'deleted'].map(id => ({
      what: `${verb} on a queue that is ${id}`,
      call: [verb, `${parent}/queues/${id}`] as const,
      code: 'NOT_FOUND',
      message: QUEUE_MISSING
    }))
  ),
  ...['missing', 'deleted'].map(id => ({
    what: `a task in a queue that is ${id}`,
    call: ['CreateTask', `${parent}/queues/${id}`, { task: { httpRequest } }] as const,
    code: 'NOT_FOUND',
    message: QUEUE_MISSING
  })),
  ...['missing', 'deleted'].map(id => ({
    what: `DeleteQueue on a queue that is ${id}`,
    call: ['DeleteQueue', `${parent}/queues/${id}`] as const,
    code: 'NOT_FOUND',
    message: ENTITY_MISSING
  })),
  ...['GetQueue', 'PauseQueue', 'ResumeQueue', 'PurgeQueue', 'DeleteQueue', 'ListTasks'].map(verb =>
    invalid(`${verb} with a bad name`, [verb, `${parent}/queues/a_b`], QUEUE_NAME)
  ),
  {
    what: 'UpdateQueue on a queue that was deleted',
    call: ['UpdateQueue', `${parent}/queues/deleted`, {}],
    code: 'FAILED_PRECONDITION',
    message: 'The queue cannot be created because a queue with this name existed too recently.'
  },

  {
    what: 'a task name in use',
    call: createTask({ name: task('t'), httpRequest }),
    code: 'ALREADY_EXISTS',
    message: 'Requested entity already exists'
  },
  {
    what: 'a task name that was used recently',
    call: createTask({ name: task('gone'), httpRequest }),
    code: 'ALREADY_EXISTS',
    message: EXISTED_RECENTLY
  },
  invalid('a bad task id', createTask({ name: task('a.b'), httpRequest }), taskId('a.b'), helps('Definition of task ID')),
  invalid('a task id that is too long', createTask({ name: task('a'.repeat(501)), httpRequest }), taskId('a'.repeat(501))),
  invalid(
    'a task id that is longer than a gRPC client accepts in an error',
    createTask({ name: task('a'.repeat(200_000)), httpRequest }),
    taskId(`${'a'.repeat(1000)}...`)
  ),
  invalid(
    'a task id that is cut within a character',
    createTask({ name: task(`${'a'.repeat(999)}😀b`), httpRequest }),
    taskId(`${'a'.repeat(999)}...`)
  ),
  invalid('a malformed task name', createTask({ name: 'x', httpRequest }), TASK_NAME),
  invalid(
    'a task name of another queue',
    createTask({ name: `${parent}/queues/other/tasks/t`, httpRequest }),
    `The queue name from request ('${queue}') must be the same as the queue name in the named task ('${parent}/queues/other').`
  ),
  invalid('a task without a request', createTask({}), 'Task.payload_type is not set.'),
  invalid('a task without a URL', createTask({ httpRequest: {} }), 'HttpRequest.url is required.'),
  invalid(
    'a URL of another kind',
    createTask({ httpRequest: { url: 'ftp://example.com' } }),
    "HttpTarget.url must start with 'http://' or 'https://'."
  ),
  invalid(
    'an HTTP deadline that is too short',
    createTask({ httpRequest, dispatchDeadline: '14.999s' }),
    'Task.dispatchDeadline must be between [15s, 30m].'
  ),
  invalid(
    'an HTTP deadline that is too long',
    createTask({ httpRequest, dispatchDeadline: '1800.001s' }),
    'Task.dispatchDeadline must be between [15s, 30m].'
  ),
  invalid(
    'an App Engine deadline that is too long',
    createTask({ appEngineHttpRequest: {}, dispatchDeadline: '86416s' }),
    'Task.dispatchDeadline must be between [15s, 24h15s].'
  ),
  invalid(
    'a schedule that is too far ahead',
    createTask({ httpRequest, scheduleTime: '2099-12-31T16:00:00-08:00' }),
    'The Task.scheduleTime, 2099-12-31T16:00:00-08:00, is too far in the future. Schedule time must be no more than 720h in the future.'
  ),
  invalid(
    'a body with GET',
    createTask({ httpRequest: { url, httpMethod: 'GET', body: 'YQ==' } }),
    'HttpRequest.body is only allowed with POST, PUT, PATCH.'
  ),
  invalid(
    'an App Engine body with PATCH',
    createTask({ appEngineHttpRequest: { httpMethod: 'PATCH', body: 'YQ==' } }),
    'AppEngineHttpRequest.body is only allowed with POST, PUT.'
  ),
  invalid(
    'a URL that is too long',
    createTask({ httpRequest: { url: url + 'a'.repeat(2084 - url.length) } }),
    'HttpRequest.url must be at most 2083 characters.'
  ),
  invalid(
    'an App Engine path without a slash',
    createTask({ appEngineHttpRequest: { relativeUri: 'x' } }),
    "AppEngineHttpRequest.relativeUri must start with '/' and contain no spaces."
  ),
  invalid(
    'headers that are too large',
    createTask({ httpRequest: { url, headers: { a: 'x'.repeat(80 * 1024) } } }),
    'HttpRequest.headers must be less than 80KB.'
  ),
  invalid(
    'a task that is too large',
    createTask({ httpRequest: { url, body: Buffer.alloc(1_048_569).toString('base64') } }),
    'Task size too large'
  ),

  ...['GetTask', 'DeleteTask', 'RunTask'].flatMap((verb): Row[] => [
    { what: `${verb} on a task that never was`, call: [verb, task('never')], code: 'NOT_FOUND', message: ENTITY_MISSING },
    { what: `${verb} on a task that was there recently`, call: [verb, task('gone')], code: 'NOT_FOUND', message: TASK_GONE },
    {
      what: `${verb} in a queue that is missing`,
      call: [verb, `${parent}/queues/missing/tasks/t`],
      code: 'NOT_FOUND',
      message: ENTITY_MISSING
    },
    invalid(`${verb} with a bad id`, [verb, task('a.b')], taskId('a.b'))
  ]),
  { ...invalid('GetTask with a malformed name', ['GetTask', 'x'], TASK_NAME), only: 'grpc' },
  ...[
    ['ListQueues', parent],
    ['ListTasks', queue]
  ].flatMap(([verb, resource]) => [
    invalid(`${verb} with a negative page size`, [verb!, resource!, { pageSize: -1 }], 'pageSize cannot be negative.'),
    invalid(`${verb} with an invalid token`, [verb!, resource!, { pageToken: 'x' }], 'The page token is unknown or has expired.')
  ]),
  invalid(
    'an invalid IAM permission',
    ['TestIamPermissions', queue, { permissions: ['*'] }],
    'Permission * is not valid for this resource.'
  )
]

t.test('what Cloud Tasks rejects is rejected with its code and words, over REST and gRPC', async t => {
  const { http, grpc, faults, engine } = await serveBoth(t, { engine: { started: false } })
  await http('POST', `/v2/${parent}/queues`, { name: `${parent}/queues/deleted` })
  await http('DELETE', `/v2/${parent}/queues/deleted`)
  for (const id of ['t', 'gone']) await http('POST', `/v2/${queue}/tasks`, { task: { name: task(id), httpRequest } })
  await http('DELETE', `/v2/${task('gone')}`)
  const before = JSON.stringify([engine.listQueues(parent), engine.listTasks(queue)])

  for (const { what, call, code, message, details = [], only } of rows) {
    if (only !== 'grpc') {
      const answer = await byRest(http, call)
      t.match(answer, { code, message, details }, `${what}, REST`)
      t.equal(
        answer.status,
        { INVALID_ARGUMENT: 400, FAILED_PRECONDITION: 400, NOT_FOUND: 404, ALREADY_EXISTS: 409 }[code],
        `${what}, status`
      )
      t.equal(answer.body.error.code, answer.status)
    }
    t.match(await byGrpc(grpc, call), { code, message, details }, `${what}, gRPC`)
  }
  t.equal(JSON.stringify([engine.listQueues(parent), engine.listTasks(queue)]), before, 'nothing has changed')
  t.same(faults, [])
})

t.test('what Cloud Tasks lets pass, or is let pass here on purpose, passes', async t => {
  const { http, grpc } = await serveBoth(t, { engine: { started: false } })
  const passing: Call[] = [
    createQueue({ rateLimits: { maxBurstSize: -5 } }, `${parent}/queues/burst`),
    createTask({ httpRequest: { url: 'https://example.com/%zz' } }),
    createTask({ httpRequest: { url: 'http://localhost/', oidcToken: { serviceAccountEmail: 'nobody@example.com' } } }),
    createTask({ httpRequest: { url: 'http://localhost/', oauthToken: { serviceAccountEmail: 'nobody@example.com' } } }),
    createTask({ httpRequest, scheduleTime: '2000-01-01T00:00:00Z' }),
    createTask({ httpRequest, dispatchDeadline: '15s' }),
    createTask({ httpRequest, dispatchDeadline: '1800s' }),
    createTask({ appEngineHttpRequest: {}, dispatchDeadline: '86415s' }),
    ['TestIamPermissions', `${parent}/queues/missing`, { permissions: ['cloudtasks.tasks.create'] }],
    ['PauseQueue', queue],
    ['PauseQueue', queue],
    ['ResumeQueue', queue]
  ]
  for (const call of passing) {
    t.match(await byRest(http, call), { status: 200 }, `${call[0]} ${JSON.stringify(call[2])}, REST`)
    if (call[0] !== 'CreateQueue') t.match(await byGrpc(grpc, call), { code: 'OK' }, `${call[0]} ${JSON.stringify(call[2])}, gRPC`)
  }
})

t.test('a stored task may have exactly 1,048,569 bytes', async t => {
  const { http, grpc } = await serveBoth(t, { engine: { started: false } })
  const largest = async (accepts: (bytes: number) => Promise<boolean>): Promise<number> => {
    let [low, high] = [1_048_000, 1_048_600]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (await accepts(middle)) low = middle
      else high = middle - 1
    }
    return low
  }
  let next = 1000
  const body = async (bytes: number): Promise<boolean> =>
    (await grpc('CreateTask', { parent: queue, task: { name: task(`t${next++}`), httpRequest: { url, body: Buffer.alloc(bytes) } } }))
      .code === 'OK'
  const byGrpcBytes = await largest(body)
  t.equal(
    await largest(
      async bytes =>
        (
          await http('POST', `/v2/${queue}/tasks`, {
            task: { name: task(`t${next++}`), httpRequest: { url, body: Buffer.alloc(bytes).toString('base64') } }
          })
        ).code === 'OK'
    ),
    byGrpcBytes
  )
  const { body: made } = await grpc('CreateTask', {
    parent: queue,
    task: { name: task('max00'), httpRequest: { url, body: Buffer.alloc(byGrpcBytes) } },
    responseView: 'FULL'
  })
  const { view, ...stored } = made
  t.equal(messageType((await loadProtos()).definitions, 'google.cloud.tasks.v2.Task').serialize(withoutZeros(stored)).length, 1_048_569)
})

async function byRest (http: ServedService['http'], [verb, resource, body]: Call): ReturnType<ServedService['http']> {
  const query = body === undefined ? '' : `?${new URLSearchParams(body)}`
  switch (verb) {
    case 'ListQueues': return await http('GET', `/v2/${resource}/queues${query}`)
    case 'ListTasks': return await http('GET', `/v2/${resource}/tasks${query}`)
    case 'GetQueue': case 'GetTask': return await http('GET', `/v2/${resource}`)
    case 'DeleteQueue': case 'DeleteTask': return await http('DELETE', `/v2/${resource}`)
    case 'CreateQueue': return await http('POST', `/v2/${resource}/queues`, body)
    case 'UpdateQueue': return await http('PATCH', `/v2/${resource}`, body)
    case 'CreateTask': return await http('POST', `/v2/${resource}/tasks`, body)
    case 'RunTask': return await http('POST', `/v2/${resource}:run`, {})
    default: return await http('POST', `/v2/${resource}:${verb[0]!.toLowerCase()}${verb.slice(1).replace('Queue', '')}`, body ?? {})
  }
}

async function byGrpc (grpc: ServedService['grpc'], [verb, resource, body = {}]: Call): ReturnType<ServedService['grpc']> {
  const message = forWire(body) as object
  if (verb === 'CreateQueue') return await grpc(verb, { parent: resource, queue: message })
  if (verb === 'UpdateQueue') return await grpc(verb, { queue: { ...message, name: resource } })
  if (verb.includes('Iam')) return await grpc(verb, { resource, ...message })
  return await grpc(verb, { [verb.startsWith('List') || verb.startsWith('Create') ? 'parent' : 'name']: resource, ...message })
}

/** Times and bytes as messages have them. */
function forWire (json: unknown, key = ''): unknown {
  if (typeof json === 'string') {
    if (key === 'body') return Buffer.from(json, 'base64')
    if (key === 'scheduleTime') return { seconds: Date.parse(json) / 1000 }
    if (!/^-?[\d.]+s$/.test(json)) return json
    const [seconds, fraction = ''] = json.slice(0, -1).split('.')
    return { seconds: Number(seconds), nanos: Number(fraction.padEnd(9, '0')) }
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return json
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, forWire(value, name)]))
}

/** As the wire has messages: defaults are not written. */
function withoutZeros (message: object): object {
  return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== 0)
    .map(([key, value]) => [key, typeof value === 'object' && !Buffer.isBuffer(value) ? withoutZeros(value) : value]))
}
