/** gRPC status codes, and the errors of Cloud Tasks with production's codes and messages. */

/** Canonical codes of google.rpc.Code by name. */
export const grpcCodes = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16
} as const

export type GrpcCode = keyof typeof grpcCodes

/** Details that production attaches: google.rpc.Help to invalid names, google.rpc.BadRequest to requests that it cannot parse. */
export type ErrorDetail =
  | {
    readonly '@type': 'type.googleapis.com/google.rpc.Help'
    readonly links: ReadonlyArray<{ readonly description: string, readonly url: string }>
  }
  | {
    readonly '@type': 'type.googleapis.com/google.rpc.BadRequest'
    readonly fieldViolations: ReadonlyArray<{ readonly field?: string, readonly description: string }>
  }

export class CloudTasksError extends Error {
  readonly code: GrpcCode
  readonly details: readonly ErrorDetail[] | undefined

  constructor (code: GrpcCode, message: string, options: { details?: readonly ErrorDetail[], cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'CloudTasksError'
    this.code = code
    this.details = options.details
  }
}

/**
 * The table of all errors. The messages are production's unless a comment says otherwise: recorded from the service, or quoted by its
 * users.
 */
export const statusErrors = {
  queueExists: () => new CloudTasksError('ALREADY_EXISTS', 'Queue already exists'),
  queueExistedRecently: () => new CloudTasksError('FAILED_PRECONDITION',
    'The queue cannot be created because a queue with this name existed too recently.'),
  queueName: () => new CloudTasksError('INVALID_ARGUMENT',
    'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".',
    { details: help('Definition of queue name', 'projects.locations.queues#Queue.FIELDS.name') }),
  unknownLocation: (location: string) => invalid(
    `Location '${echo(location)}' is not a valid location. Use ListLocations to list valid locations.`),
  // The message of other emulators. Production returns PERMISSION_DENIED for a project that does not exist.
  locationName: () => invalid('Invalid resource field value in the request.'),
  queueNotFound: () => new CloudTasksError('NOT_FOUND',
    'Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.'),
  notFound: () => new CloudTasksError('NOT_FOUND', 'Requested entity was not found.'),

  taskExists: () => new CloudTasksError('ALREADY_EXISTS', 'Requested entity already exists'),
  taskExistedRecently: () => new CloudTasksError('ALREADY_EXISTS',
    'The task cannot be created because a task with this name existed too recently. For more information about task ' +
    'de-duplication see https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create' +
    '#body.request_body.FIELDS.task.'),
  taskGone: () => new CloudTasksError('NOT_FOUND',
    'The task no longer exists, though a task with this name existed recently. ' +
    'The task either successfully completed or was deleted.'),
  taskId: (id: string) => new CloudTasksError('INVALID_ARGUMENT',
    `Task ID "${echo(id)}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_). ` +
    'Task ID must between 1 and 500 characters.',
    { details: help('Definition of task ID', 'projects.locations.queues.tasks#Task.FIELDS.name') }),
  // Not recorded: another emulator's message.
  taskName: () => invalid('Task name must be formatted: ' +
    '"projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"'),
  taskInOtherQueue: (asked: string, named: string) => invalid(
    `The queue name from request ('${echo(asked)}') must be the same as the queue name in the named task ('${echo(named)}').`),
  noPayloadType: () => invalid('Task.payload_type is not set.'),
  urlRequired: () => invalid('HttpRequest.url is required.'),
  urlScheme: () => invalid("HttpTarget.url must start with 'http://' or 'https://'."),
  deadlineHttp: () => invalid('Task.dispatchDeadline must be between [15s, 30m].'),
  deadlineAppEngine: () => invalid('Task.dispatchDeadline must be between [15s, 24h15s].'),
  scheduleTooFar: (time: string) => invalid(`The Task.scheduleTime, ${time}, is too far in the future. ` +
    'Schedule time must be no more than 720h in the future.'),
  taskTooLarge: () => invalid('Task size too large'),

  negative: (field: string) => invalid(`${field} cannot be negative.`),
  above: (field: string, max: number) => invalid(`${field} must be less than or equal to ${max}.`),
  maxAttempts: () => invalid('RetryConfig.maxAttempts must be greater or equal to -1.'),
  backoffOrder: () => invalid('RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.'),

  // Not recorded: from here on the codes are inferred from the documentation, and the messages are ours.
  notANumber: (field: string) => invalid(`${field} must be a number.`),
  notAnInteger: (field: string) => invalid(`${field} must be a whole number.`),
  notATime: (field: string) => invalid(`${field} is not a valid timestamp.`),
  notADuration: (field: string) => invalid(`${field} is not a valid duration.`),
  unknownEnum: (field: string, value: string | number) => invalid(`${field} has the unknown value ${echo(String(value))}.`),
  outside: (field: string, range: string) => invalid(`${field} must be between ${range}.`),
  required: (field: string) => invalid(`${field} is required.`),
  notAHost: (field: string) => invalid(`${field} is not a host name.`),
  queueElsewhere: (parent: string, name: string) => invalid(
    `The queue '${echo(name)}' is not in the location from request ('${echo(parent)}').`),
  pullTask: () => invalid('Task.pull_message is not supported: the queue is a push queue.'),
  pullQueue: () => invalid('Queue.type must be PUSH: pull queues are not supported.'),
  bodyNotAllowed: (field: string, methods: string) => invalid(`${field}.body is only allowed with ${methods}.`),
  urlTooLong: (field: string) => invalid(`${field} must be at most 2083 characters.`),
  relativeUri: () => invalid("AppEngineHttpRequest.relativeUri must start with '/' and contain no spaces."),
  headersTooLarge: () => invalid('HttpRequest.headers must be less than 80KB.'),
  pageToken: () => invalid('The page token is unknown or has expired.'),
  concurrentPolicyChange: () => new CloudTasksError('ABORTED',
    'There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.'),
  permission: (permission: string) => invalid(`Permission ${permission} is not valid for this resource.`),
  kmsKey: (key: string) => invalid('CmekConfig.kmsKey must be formatted: ' +
    `"projects/<PROJECT_ID>/locations/<LOCATION_ID>/keyRings/<KEY_RING_ID>/cryptoKeys/<KEY_ID>", not '${echo(key)}'.`),
  emptyBatch: () => invalid('A batch must have at least one request.'),
  largeBatch: (max: number) => invalid(`A batch must have at most ${max} requests.`),
  requestId: () => invalid('The request_id must be a UUID4.'),
  batchParent: (parent: string, other: string) => invalid(
    `The parent of each request must be the parent of the batch ('${echo(parent)}'), not '${echo(other)}'.`),
  wholeBatchFailed: (metadata: string) => new CloudTasksError('ABORTED',
    `None of the requests succeeded, refer to ${metadata}.failed_requests for individual error details`),
  noHttpTarget: () => new CloudTasksError('FAILED_PRECONDITION',
    'The queue has no HTTP target with a host, so a task cannot be buffered in it.'),
  internal: (cause: unknown) => new CloudTasksError('INTERNAL', 'Internal error encountered.', { cause }),
  notOpen: () => new CloudTasksError('UNAVAILABLE', 'The engine is not open.'),
  notStarted: () => new CloudTasksError('UNAVAILABLE', 'The engine is not dispatching.'),
  notStored: (cause: unknown) => new CloudTasksError('UNAVAILABLE', 'The store could not save the change.', { cause })
} as const

/** The gRPC code for an attempt's HTTP status. Inferred from client output, not from production. */
export function grpcCodeOf (httpStatus: number): GrpcCode {
  if (httpStatus >= 200 && httpStatus <= 299) return 'OK'
  return fromHttp.get(httpStatus) ?? 'UNKNOWN'
}

/** The HTTP status for a code in the REST interface. */
export function httpStatusOf (code: GrpcCode): number {
  return toHttp[code]
}

/** `Attempt.responseStatus` for an HTTP status, e.g. `{ code: 14, message: 'UNAVAILABLE(14): HTTP status code 503' }`. */
export function responseStatus (httpStatus: number): { code: number, message: string } {
  const code = grpcCodeOf(httpStatus)
  return status(code, `HTTP status code ${httpStatus}`)
}

/** `Attempt.responseStatus` when the dispatch deadline was exceeded. The text after the code is ours. */
export function deadlineStatus (): { code: number, message: string } {
  return status('DEADLINE_EXCEEDED', 'no response within the dispatch deadline')
}

/** `Attempt.responseStatus` when the target could not be reached. The text after the code is ours. */
export function unreachableStatus (): { code: number, message: string } {
  return status('UNAVAILABLE', 'no response')
}

function status (code: GrpcCode, text: string): { code: number, message: string } {
  return { code: grpcCodes[code], message: `${code}(${grpcCodes[code]}): ${text}` }
}

function invalid (message: string): CloudTasksError {
  return new CloudTasksError('INVALID_ARGUMENT', message)
}

/** gRPC sends messages in headers, and a client that receives larger headers than it accepts hangs until its deadline. */
function echo (text: string): string {
  return text.length > MAX_ECHO ? `${text.slice(0, MAX_ECHO).replace(/[\uD800-\uDBFF]$/, '')}...` : text
}

/** Longer than every valid value. */
const MAX_ECHO = 1000

function help (description: string, anchor: string): readonly ErrorDetail[] {
  const url = `https://cloud.google.com/tasks/docs/reference/rest/v2/${anchor}`
  return [{ '@type': 'type.googleapis.com/google.rpc.Help', links: [{ description, url }] }]
}

const fromHttp = new Map<number, GrpcCode>([
  [400, 'INVALID_ARGUMENT'], [401, 'UNAUTHENTICATED'], [403, 'PERMISSION_DENIED'], [404, 'NOT_FOUND'], [409, 'ALREADY_EXISTS'],
  [429, 'RESOURCE_EXHAUSTED'], [499, 'CANCELLED'], [500, 'INTERNAL'], [501, 'UNIMPLEMENTED'], [503, 'UNAVAILABLE'],
  [504, 'DEADLINE_EXCEEDED']
])

const toHttp: Readonly<Record<GrpcCode, number>> = {
  OK: 200,
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401
}
