import t from 'tap'
import { MAX_TASK_BYTES } from '../../../lib/cloud-tasks/size.js'
import { failureOf, type CallContext } from '../../../lib/transport/cloud/advice.js'
import { ClientError } from '../../../lib/transport/cloud/client.js'
import { classifyError, type CloudFault } from '../../../lib/transport/cloud/fault.js'
import { environment } from '../../support/environment.js'

const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const CALL: CallContext = {
  action: 'create',
  project: 'demo',
  location: 'us-central1',
  queue: 'default',
  emulatorHost: undefined,
  serviceAccountEmail: ACCOUNT,
  tries: 3,
  budgetMs: 10_000,
  bytes: () => 1_100_000
}
const PROXY_VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy', 'no_grpc_proxy', 'no_proxy']
const NO_PROXY = Object.fromEntries(PROXY_VARIABLES.flatMap(name => [[name, undefined], [name.toUpperCase(), undefined]]))

const coded = (code: unknown, message = '', rest = {}) => Object.assign(new Error(message), { code, ...rest })
const fault = (code: CloudFault['code'], details: string, rest: Partial<CloudFault> = {}): CloudFault => ({
  code, details, lacksToken: false, transient: false, mayHaveArrived: false, error: new Error(details), ...rest
})
const problemOf = (given: CloudFault, context: Partial<CallContext> = {}): string => {
  const failure = failureOf(given, { ...CALL, ...context })
  if (failure.outcome !== 'failed') throw new Error(`the outcome is ${failure.outcome}`)
  return failure.problem
}

t.test('an error of the client has one code, wherever it comes from', async t => {
  for (const [given, code, transient, mayHaveArrived] of [
    [coded(14, '14 UNAVAILABLE: read ECONNRESET'), 'UNAVAILABLE', true, true],
    [coded(14, 'No connection established. Last error: connect ECONNREFUSED'), 'UNAVAILABLE', true, false],
    [coded(14, 'Name resolution failed for target dns:x'), 'UNAVAILABLE', true, false],
    [coded(13, 'Received RST_STREAM with code 2 triggered by internal client error: read ECONNRESET'), 'UNAVAILABLE', true, true],
    [coded(13, 'Something else'), 'INTERNAL', false, false],
    [coded(2, 'Received GOAWAY'), 'UNAVAILABLE', true, true],
    [coded(2, 'Something else'), 'UNKNOWN', false, false],
    [coded(9, 'socket hang up'), 'FAILED_PRECONDITION', false, false],
    [coded('ECONNRESET', 'socket hang up'), 'UNAVAILABLE', true, true],
    [coded('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1'), 'UNAVAILABLE', true, false],
    [coded('ENOTFOUND', 'getaddrinfo ENOTFOUND cloudtasks.googleapis.com'), 'UNAVAILABLE', true, false],
    [coded('EAI_AGAIN', 'getaddrinfo EAI_AGAIN cloudtasks.googleapis.com'), 'UNAVAILABLE', true, false],
    [coded('ERR_INVALID_ARG_TYPE', 'socket hang up'), 'UNAVAILABLE', true, true],
    [coded('ERR_INVALID_ARG_TYPE', 'no'), 'UNKNOWN', false, false],
    [coded(4), 'DEADLINE_EXCEEDED', true, true],
    [coded(8), 'RESOURCE_EXHAUSTED', true, false],
    [coded(6), 'ALREADY_EXISTS', false, false],
    [coded(404), 'NOT_FOUND', false, false],
    [coded(409), 'ALREADY_EXISTS', false, false],
    [coded(403), 'PERMISSION_DENIED', false, false],
    [coded(401), 'UNAUTHENTICATED', false, false],
    [coded(400), 'INVALID_ARGUMENT', false, false],
    [coded(429), 'RESOURCE_EXHAUSTED', true, false],
    [coded(503), 'UNAVAILABLE', true, true],
    [coded(504), 'DEADLINE_EXCEEDED', true, true],
    [new TypeError('no code'), 'UNKNOWN', false, false],
    ['The client has already been closed.', 'UNKNOWN', false, false],
    [null, 'UNKNOWN', false, false],
    [undefined, 'UNKNOWN', false, false]
  ] as const) {
    const { details, error, ...fault } = classifyError(given)
    t.strictSame(fault, { code, lacksToken: false, transient, mayHaveArrived }, details)
    t.equal(error, given)
  }
})

t.test('each error of a broken connection is transient', async t => {
  for (const text of [
    'ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH'
  ]) {
    t.equal(classifyError(coded(text)).code, 'UNAVAILABLE', text)
    t.equal(classifyError(coded(13, `it says ${text}`)).code, 'UNAVAILABLE', text)
  }
})

t.test("the details are Google's own, without the prefixes of the client", async t => {
  for (const [given, details] of [
    [coded(5, '5 NOT_FOUND: no queue', { details: 'no queue' }), 'no queue'],
    [coded(5, '5 NOT_FOUND: no queue', { details: '' }), '5 NOT_FOUND: no queue'],
    [coded(5, '5 NOT_FOUND: no queue', { details: ['no queue'] }), '5 NOT_FOUND: no queue'],
    [coded(2, '2 UNKNOWN: Getting metadata from plugin failed with error: invalid_grant'), 'invalid_grant'],
    [coded(16, '', { details: 'Getting metadata from plugin failed with error: invalid_grant' }), 'invalid_grant'],
    [coded(13, 'it says: Getting metadata from plugin failed with error: no'), 'it says: Getting metadata from plugin failed with error: no'],
    [new ClientError('credentials', coded(2, 'x', { details: 'no file' })), 'no file'],
    ['The client has already been closed.', 'The client has already been closed.']
  ] as const) t.equal(classifyError(given).details, details)
})

t.test('a call without a token was not sent, and is transient only where the token server fails by itself', async t => {
  const plugin = 'Getting metadata from plugin failed with error: '
  const rest = (code: number, url: string, message = '') => coded(code, message, { config: { url } })
  for (const [given, code, transient] of [
    [coded(2, `${plugin}request to https://oauth2.googleapis.com/token failed, reason: ECONNRESET`), 'UNAVAILABLE', true],
    [coded(2, `${plugin}request to http://metadata.google.internal/computeMetadata failed, reason: socket hang up`), 'UNAVAILABLE', true],
    [coded(2, `${plugin}invalid_grant`), 'UNAUTHENTICATED', false],
    [coded(500, `${plugin}no`), 'UNAVAILABLE', true],
    [coded(503, `${plugin}Could not refresh access token: try again`), 'UNAVAILABLE', true],
    [coded(499, `${plugin}no`), 'UNAUTHENTICATED', false],
    [coded(429, `${plugin}Could not refresh access token: try again`), 'UNAVAILABLE', true],
    [coded('ETIMEDOUT', `${plugin}no`), 'UNAVAILABLE', true],
    [coded('500', `${plugin}no`), 'UNAUTHENTICATED', false],
    [rest(403, 'http://metadata.google.internal/computeMetadata/v1/token'), 'UNAUTHENTICATED', false],
    [rest(503, 'https://oauth2.googleapis.com/token'), 'UNAVAILABLE', true],
    [rest(503, 'https://token.example/x/v2/projects'), 'UNAVAILABLE', true],
    [rest(503, 'https://token.example/v2beta12/projects'), 'UNAVAILABLE', true],
    [new ClientError('credentials', new Error('no file')), 'UNAUTHENTICATED', false],
    [new ClientError('project', new Error('no file')), 'NO_PROJECT', false],
    [new ClientError('credentials', coded('ECONNRESET')), 'UNAVAILABLE', true],
    [new ClientError('project', coded(4)), 'DEADLINE_EXCEEDED', true]
  ] as const) t.hasStrict(classifyError(given), { code, transient, lacksToken: true, mayHaveArrived: false }, String(given))

  for (const [given, code] of [
    [rest(503, 'https://cloudtasks.googleapis.com/v2/projects/p'), 'UNAVAILABLE'],
    [rest(503, 'https://cloudtasks.googleapis.com/v2beta3/projects/p'), 'UNAVAILABLE'],
    [rest(403, 'https://cloudtasks.googleapis.com/v2/projects/p'), 'PERMISSION_DENIED'],
    [rest(403, '/token'), 'PERMISSION_DENIED'],
    [coded(403, '', { config: {} }), 'PERMISSION_DENIED']
  ] as const) t.hasStrict(classifyError(given), { code, lacksToken: false, mayHaveArrived: code === 'UNAVAILABLE' })
})

t.test('a missing queue is distinguished from other things that are missing', async t => {
  for (const [code, details, action, missing] of [
    ['NOT_FOUND', 'Queue does not exist. If you just created the queue, wait at least a minute.', 'create', true],
    ['FAILED_PRECONDITION', 'Queue does not exist.', 'create', true],
    ['FAILED_PRECONDITION', 'queue not found', 'viewQueue', true],
    ['NOT_FOUND', 'Requested entity was not found.', 'create', true],
    ['NOT_FOUND', 'Requested entity was not found.', 'delete', false],
    ['NOT_FOUND', 'Service account x not found', 'create', false],
    ['NOT_FOUND', 'The serviceaccount x does not exist', 'create', false],
    ['FAILED_PRECONDITION', 'The queue is disabled', 'create', false],
    ['INVALID_ARGUMENT', 'Queue does not exist.', 'create', false]
  ] as const) {
    const given = fault(code, details)
    const failure = failureOf(given, { ...CALL, action })
    t.equal(failure.outcome, missing ? 'queueNotFound' : 'failed', `${code} ${details}`)
    t.equal((failure as { cause: unknown }).cause, given.error)
  }
  const hint = (context: Partial<CallContext>) => (failureOf(fault('NOT_FOUND', 'Queue does not exist.'), { ...CALL, ...context }) as { hint: string }).hint
  t.ok(hint({}).includes("'gcloud tasks queues create default --location=us-central1 --project=demo'"))
  t.ok(hint({ project: undefined }).includes('--project=PROJECT'))
  t.equal(hint({ emulatorHost: 'localhost:8123' }),
    'create it in the emulator at localhost:8123 with the name projects/demo/locations/us-central1/queues/default')
  t.ok(hint({ emulatorHost: 'localhost:8123', project: undefined }).endsWith('projects/PROJECT/locations/us-central1/queues/default'))
})

t.test('a task that Cloud Tasks finds too large has its size and the maximum', async t => {
  const failure = failureOf(fault('INVALID_ARGUMENT', 'Task size too large'), CALL)
  t.strictSame(failure, { outcome: 'tooLarge', bytes: 1_100_000, limit: MAX_TASK_BYTES })
  t.equal(failureOf(fault('INTERNAL', 'Task size too large'), CALL).outcome, 'failed')
})

t.test('the problem of a call names what to do', async t => {
  const policy = "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x"
  const actAs = `lacks IAM permission "iam.serviceAccounts.actAs" for the resource "${ACCOUNT}"`
  const cases: Array<[given: CloudFault, context: Partial<CallContext>, facts: string[]]> = [
    [fault('UNAUTHENTICATED', 'no token'), {}, ['(UNAUTHENTICATED: no token)', 'gcloud auth application-default login']],
    [fault('NO_PROJECT', 'none'), {}, ['(none)', "'project'", 'GOOGLE_CLOUD_PROJECT']],
    [fault('NOT_FOUND', 'service account x'), { action: 'delete' }, [ACCOUNT, "'target.serviceAccountEmail'", '(NOT_FOUND: service account x)']],
    [fault('NOT_FOUND', 'no entity'), { action: 'delete' }, ['Cloud Tasks answered NOT_FOUND: no entity']],
    [fault('INTERNAL', 'no luck'), {}, ['Cloud Tasks answered INTERNAL: no luck']],
    [fault('PERMISSION_DENIED', 'denied'), {}, ['roles/cloudtasks.enqueuer', 'add-iam-policy-binding default --location=us-central1 --project=demo']],
    [fault('PERMISSION_DENIED', 'denied'), { action: 'delete' }, ['roles/cloudtasks.taskDeleter']],
    [fault('PERMISSION_DENIED', 'denied'), { action: 'viewQueue' }, ['roles/cloudtasks.viewer']],
    [fault('PERMISSION_DENIED', 'denied'), { action: 'viewTask' }, ['roles/cloudtasks.viewer']],
    [fault('PERMISSION_DENIED', 'denied'), { action: 'changeQueue', project: undefined }, ['roles/cloudtasks.queueAdmin', '--project=PROJECT']],
    [fault('PERMISSION_DENIED', 'SERVICE_DISABLED'), {}, ['gcloud services enable cloudtasks.googleapis.com --project=demo', '(PERMISSION_DENIED: SERVICE_DISABLED)']],
    [fault('PERMISSION_DENIED', 'API has not been used in project 1'), {}, ['services enable']],
    [fault('PERMISSION_DENIED', 'the API is disabled'), {}, ['services enable']],
    [fault('PERMISSION_DENIED', policy), {}, ['a policy of your organization', policy]],
    [fault('PERMISSION_DENIED', 'denied by VPC Service Controls'), {}, ['a policy of your organization']],
    [fault('PERMISSION_DENIED', 'vpcservicecontrols'), {}, ['a policy of your organization']],
    [fault('PERMISSION_DENIED', actAs), {}, ['roles/iam.serviceAccountUser', `add-iam-policy-binding ${ACCOUNT} `]],
    [fault('PERMISSION_DENIED', actAs), { serviceAccountEmail: undefined }, ['add-iam-policy-binding ACCOUNT ']]
  ]
  for (const [given, context, facts] of cases) {
    const problem = problemOf(given, context)
    for (const fact of facts) t.ok(problem.includes(fact), `${fact} in: ${problem}`)
  }
  t.equal(problemOf(fault('NOT_FOUND', 'service account x'), { serviceAccountEmail: undefined }).includes('undefined'), false)
})

t.test('a task that is rejected names the option that is at fault', async t => {
  for (const [details, named] of [
    ["Location 'x' is not a valid location.", 'CLOUD_TASKS_LOCATION'],
    ["HttpRequest.url must start with 'https://'", 'CLOUD_TASKS_TARGET_URL'],
    ['Invalid HttpRequest.url', 'CLOUD_TASKS_TARGET_URL'],
    ['Invalid service account', 'CLOUD_TASKS_SERVICE_ACCOUNT'],
    ['Invalid serviceAccountEmail', 'CLOUD_TASKS_SERVICE_ACCOUNT'],
    ['Invalid OIDC token', 'CLOUD_TASKS_SERVICE_ACCOUNT'],
    ['Invalid relative_uri', "'prefix'"],
    ['Invalid relativeUri', "'prefix'"],
    ['App Engine routing', "'prefix'"],
    ['no AppEngine app', "'prefix'"],
    ['Invalid project', 'GOOGLE_CLOUD_PROJECT']
  ] as const) {
    const problem = problemOf(fault('INVALID_ARGUMENT', details))
    t.ok(problem.includes(`(INVALID_ARGUMENT: ${details})`))
    t.strictSame(
      ['CLOUD_TASKS_LOCATION', 'CLOUD_TASKS_TARGET_URL', 'CLOUD_TASKS_SERVICE_ACCOUNT', "'prefix'", 'GOOGLE_CLOUD_PROJECT']
        .filter(name => problem.includes(name)),
      [named], details
    )
  }
  t.equal(problemOf(fault('INVALID_ARGUMENT', 'no')), 'Cloud Tasks rejected the task (INVALID_ARGUMENT: no)')
})

t.test('long details are cut, and only their first line is shown', async t => {
  t.equal(problemOf(fault('INTERNAL', 'one\ntwo')), 'Cloud Tasks answered INTERNAL: one')
  t.equal(problemOf(fault('INTERNAL', 'x'.repeat(300))), `Cloud Tasks answered INTERNAL: ${'x'.repeat(300)}`)
  t.equal(problemOf(fault('INTERNAL', 'x'.repeat(301))), `Cloud Tasks answered INTERNAL: ${'x'.repeat(300)}...`)
})

t.test('a transient problem says how often it was tried, who failed, and whether it may have taken effect', async t => {
  environment(t, NO_PROXY)
  const repeated = ", tried 3 times within the 10 s of 'sendTimeoutSeconds'"
  const doubt = '; the call may have taken effect anyway'
  for (const [given, context, problem] of [
    [fault('UNAVAILABLE', 'no'), {}, `Cloud Tasks could not be reached (UNAVAILABLE: no)${repeated}`],
    [fault('UNAVAILABLE', 'no', { mayHaveArrived: true }), {}, `Cloud Tasks could not be reached (UNAVAILABLE: no)${repeated}${doubt}`],
    [fault('UNAVAILABLE', 'no', { mayHaveArrived: true }), { budgetMs: undefined }, 'Cloud Tasks could not be reached (UNAVAILABLE: no)'],
    [fault('DEADLINE_EXCEEDED', 'no'), {}, `Cloud Tasks did not answer in time (DEADLINE_EXCEEDED: no)${repeated}`],
    [
      fault('RESOURCE_EXHAUSTED', 'no'), {},
      `Cloud Tasks rejected the call because a quota is exceeded (RESOURCE_EXHAUSTED: no)${repeated}`
    ],
    [
      fault('UNAVAILABLE', 'no'), { emulatorHost: 'localhost:1' },
      `the emulator at localhost:1 (CLOUD_TASKS_EMULATOR_HOST) could not be reached (UNAVAILABLE: no)${repeated}`
    ],
    [
      fault('UNAVAILABLE', 'no', { lacksToken: true }), {},
      `the access token for Cloud Tasks could not be fetched (UNAVAILABLE: no)${repeated}`
    ]
  ] as const) t.equal(problemOf(given, context), problem)
})

t.test('a call that fails behind a proxy names the variable of that proxy', async t => {
  environment(t, { ...NO_PROXY, https_proxy: 'http://proxy.example:3128', no_proxy: 'oauth2.googleapis.com' })
  const named = (given: CloudFault, context: Partial<CallContext> = {}) => problemOf(given, context).includes('the proxy in https_proxy')
  const token = (url: string) => fault('UNAVAILABLE', `request to ${url} failed`, { lacksToken: true })
  t.equal(named(fault('UNAVAILABLE', 'no')), true)
  t.equal(named(fault('DEADLINE_EXCEEDED', 'no')), true)
  t.equal(named(fault('UNAUTHENTICATED', 'no')), true)
  t.equal(named(fault('RESOURCE_EXHAUSTED', 'no')), false, 'only Cloud Tasks has quotas')
  t.equal(named(fault('UNAVAILABLE', 'no'), { emulatorHost: 'localhost:1' }), false, 'an emulator is called directly')
  t.equal(named(token('https://sts.example:443/token')), true)
  t.equal(named(token('https://oauth2.googleapis.com/token')), false, 'the token server is excluded')
  t.equal(named(token('https://oauth2.googleapis.com:443/token')), false)
  process.env['no_proxy'] = 'cloudtasks.googleapis.com'
  t.equal(named(fault('UNAVAILABLE', 'no')), false, 'the service is excluded')
  t.equal(named(token('https://oauth2.googleapis.com/token')), true)
})
