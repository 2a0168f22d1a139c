/**
 * All errors of this package: the export's name is the code. docs/errors.md lists exactly these.
 * Each names what is wrong and how to fix it, and never carries a payload or a token. Where a web client of the host could be
 * shown it with a status of 5xx, `message` is a neutral sentence and `explanation` has the rest: see `createServerError`.
 */

import { createError } from '@fastify/error'
import { createServerError } from './server-error.js'

/** Common properties of all errors of this package. */
export interface TaskError<C extends string = string> extends Error {
  readonly code: C
  readonly statusCode: number
}

/** Does not depend on types of another package, so that it is the same with every module resolution. */
export interface TaskErrorClass<C extends string, W extends readonly unknown[]> {
  new (...words: W): TaskError<C>
  (...words: W): TaskError<C>
  readonly prototype: TaskError<C>
}

/** `W` are the arguments of the message. Two calls, so that the code is inferred as a literal. */
function errorClass<W extends unknown[]> () {
  return <const C extends string>(code: C, message: string, statusCode: number) =>
    createError<W>(code, message, statusCode) as unknown as TaskErrorClass<C, W>
}

// At registration, when there is no client yet and the message is for the developer

/** An option is unknown or invalid, or two options contradict each other. */
export const FST_TASKS_INVALID_OPTION = errorClass<[problem: string]>()(
  'FST_TASKS_INVALID_OPTION', '%s', 500)

/** The chosen transport lacks settings; the message names all of them. */
export const FST_TASKS_MISSING_SETTING = errorClass<[what: string]>()(
  'FST_TASKS_MISSING_SETTING', '%s', 500)

/** In production no transport was chosen, or the chosen one loses its tasks when the process ends. */
export const FST_TASKS_NOT_FOR_PRODUCTION = errorClass<[why: string]>()(
  'FST_TASKS_NOT_FOR_PRODUCTION', '%s', 500)

/** The embedded queue's directory cannot be used: another process has it, it holds something else, it is damaged, full or not writable. */
export const FST_TASKS_STORE_UNAVAILABLE = createServerError<'FST_TASKS_STORE_UNAVAILABLE', [problem: string, options?: ErrorOptions]>(
  'FST_TASKS_STORE_UNAVAILABLE', 500, 'The embedded queue cannot use its store',
  'The embedded queue cannot use its store: %s')

/** Google's client library could not be loaded, such as from a bundle. */
export const FST_TASKS_CLIENT_UNAVAILABLE = createError<[reason: string, options?: ErrorOptions]>(
  'FST_TASKS_CLIENT_UNAVAILABLE',
  'The client library @google-cloud/tasks could not be loaded (%s); install it, and if this program is bundled, ' +
    "exclude it from the bundle: '@google-cloud/tasks' must be external (esbuild: --external:@google-cloud/tasks), see docs/bundlers.md",
  500
)

/** A task definition is malformed. */
export const FST_TASKS_INVALID_DEFINITION = errorClass<[problem: string]>()(
  'FST_TASKS_INVALID_DEFINITION', '%s', 500)

/** Two definitions have the same path. */
export const FST_TASKS_DUPLICATE_PATH = errorClass<[name: string, path: string, other: string]>()(
  'FST_TASKS_DUPLICATE_PATH', "Task '%s' has the same path '%s' as task '%s'; give one of them another 'path'", 500)

/** A handler is not a function, or has no definition. */
export const FST_TASKS_INVALID_HANDLER = errorClass<[problem: string]>()(
  'FST_TASKS_INVALID_HANDLER', '%s', 500)

/** The plugin is already registered on this instance or one above it. */
export const FST_TASKS_ALREADY_REGISTERED = errorClass<[]>()(
  'FST_TASKS_ALREADY_REGISTERED',
  'fastify-cloud-tasks is already registered on this instance; put all tasks into one registry, ' +
    'or register the second one on a sibling instance',
  500
)

/** The plugin is not registered on the console's instance or on one above it. */
export const FST_TASKS_PLUGIN_MISSING = errorClass<[]>()(
  'FST_TASKS_PLUGIN_MISSING',
  'The console requires fastify-cloud-tasks; register the plugin on the same instance as the console, or on one above it',
  500
)

/** The files of the console's page are missing, such as in a bundle. */
export const FST_TASKS_PAGE_MISSING = errorClass<[]>()(
  'FST_TASKS_PAGE_MISSING',
  "The files of the console's page are missing; if this program is bundled, exclude the package from the bundle: " +
    "with a console 'fastify-cloud-tasks' must be external (esbuild: --external:fastify-cloud-tasks), see docs/bundlers.md",
  500
)

/** The route of a task exists already, such as when a definition is mounted twice with the same prefix. */
export const FST_TASKS_ROUTE_TAKEN = errorClass<[name: string, method: string, url: string]>()(
  'FST_TASKS_ROUTE_TAKEN', "Task '%s' cannot be mounted: the route %s %s exists already; choose another 'prefix' or 'path'", 500)

/** The payload schema of a task does not compile. */
export const FST_TASKS_INVALID_SCHEMA = errorClass<[name: string, problem: string, options?: ErrorOptions]>()(
  'FST_TASKS_INVALID_SCHEMA', "The payload schema of task '%s' does not compile: %s", 500)

// At enqueue and run

/** There is no task with that name in the registry. Also the response of a route without a handler. */
export const FST_TASKS_NOT_REGISTERED = errorClass<[name: string, hint: string]>()(
  'FST_TASKS_NOT_REGISTERED', "Task '%s' is not registered%s", 404)

/** The task is known, but this process has no handler for it. */
export const FST_TASKS_NO_HANDLER = createServerError<'FST_TASKS_NO_HANDLER', [name: string]>(
  'FST_TASKS_NO_HANDLER', 500, 'The task cannot run here',
  "Task '%s' has no handler in this process; add one to the option 'handlers'")

/** The payload does not match the schema. `validation` lists each field and its rule. */
export const FST_TASKS_INVALID_PAYLOAD = errorClass<[name: string, problem: string, options?: ErrorOptions]>()(
  'FST_TASKS_INVALID_PAYLOAD', "The payload of task '%s' is invalid: %s", 400)

/** An asynchronous validator did not settle within 30 s. Nothing was enqueued and nothing ran. */
export const FST_TASKS_VALIDATION_TIMEOUT = createServerError<'FST_TASKS_VALIDATION_TIMEOUT', [name: string, seconds: number]>(
  'FST_TASKS_VALIDATION_TIMEOUT', 503, 'The payload could not be validated in time',
  "The validator of task '%s' did not settle within %d s; where it asks another service, give that call a time limit of its own")

/**
 * The payload has no JSON representation, or one that loses data or is unsafe to parse: circular, BigInt, undefined, a Map, `__proto__`.
 */
export const FST_TASKS_PAYLOAD_NOT_JSON = errorClass<[name: string, problem: string, options?: ErrorOptions]>()(
  'FST_TASKS_PAYLOAD_NOT_JSON', "The payload of task '%s' cannot be sent as JSON: %s", 400)

/** The task is larger than `enqueue` accepts: 1,046,521 bytes with its name, URL and headers, 2 KiB less than Cloud Tasks stores. */
export const FST_TASKS_TOO_LARGE = errorClass<[name: string, bytes: number, limit: number]>()(
  'FST_TASKS_TOO_LARGE',
  "Task '%s' has %d bytes, more than the maximum of %d; store the data elsewhere and enqueue a reference to it",
  413
)

/** An option of `enqueue` is unknown or invalid. */
export const FST_TASKS_INVALID_ENQUEUE_OPTION = errorClass<[name: string, problem: string]>()(
  'FST_TASKS_INVALID_ENQUEUE_OPTION', "Invalid call for task '%s': %s", 400)

/** The queue does not exist. */
export const FST_TASKS_QUEUE_NOT_FOUND = createServerError<
  'FST_TASKS_QUEUE_NOT_FOUND',
  [queue: string, hint: string, options?: ErrorOptions]
>('FST_TASKS_QUEUE_NOT_FOUND', 500, 'The queue of the task does not exist', "Queue '%s' does not exist; %s")

/** The call to the queue failed; `explanation` and `cause` say why. The task is not enqueued, as far as is known. */
export const FST_TASKS_SEND_FAILED = createServerError<'FST_TASKS_SEND_FAILED', [name: string, problem: string, options?: ErrorOptions]>(
  'FST_TASKS_SEND_FAILED', 503, 'The queue did not accept the call',
  "The queue did not accept the call for task '%s': %s")

/** The server is closing, and the task would be lost. Nothing was enqueued. */
export const FST_TASKS_CLOSING = errorClass<[]>()(
  'FST_TASKS_CLOSING', 'The server is closing and accepts no more tasks; nothing was enqueued', 503)

/** Invalid page size or page token of pending tasks. */
export const FST_TASKS_INVALID_PAGE = errorClass<[problem: string]>()(
  'FST_TASKS_INVALID_PAGE', 'Invalid page: %s', 400)

/** This method of `app.tasks` supports only the embedded queue, and the transport is `cloud`. */
export const FST_TASKS_LOCAL_ONLY = createServerError<'FST_TASKS_LOCAL_ONLY', [call: string]>(
  'FST_TASKS_LOCAL_ONLY', 501, 'Not available for queues in Google Cloud',
  "app.tasks.%s supports only the embedded queue; for queues in Google Cloud use 'gcloud tasks list', 'gcloud tasks queues' or " +
  "Google's console")

// In the test kit

/** A test kit cannot be created, or not yet: the message says why. */
export const FST_TASKS_KIT_UNAVAILABLE = errorClass<[problem: string]>()(
  'FST_TASKS_KIT_UNAVAILABLE', 'No test kit can be created: %s', 500)

/** The registration already has a test kit. */
export const FST_TASKS_KIT_EXISTS = errorClass<[]>()(
  'FST_TASKS_KIT_EXISTS', 'This app already has a test kit; use that one, or dispose of it first: await kit.dispose()', 500)

/** The test kit was disposed of, or its app is closed. */
export const FST_TASKS_KIT_DISPOSED = errorClass<[]>()(
  'FST_TASKS_KIT_DISPOSED', 'This test kit was disposed of, or its app was closed; create a new one with testTasks(app)', 500)

/** An invalid call of a test kit: an invalid duration, a clock set back, an unknown option. */
export const FST_TASKS_INVALID_KIT_CALL = errorClass<[call: string, problem: string]>()(
  'FST_TASKS_INVALID_KIT_CALL', 'Invalid call of %s: %s', 400)

/** `drain` or `advance` of a test kit has reached its limit of attempts, and more tasks are due. */
export const FST_TASKS_DRAIN_UNBOUNDED = errorClass<[call: string, attempts: number, name: string]>()(
  'FST_TASKS_DRAIN_UNBOUNDED', "%s has run %d attempts, the last of task '%s', and more are due: a handler may enqueue its own task " +
  "forever; otherwise raise 'maxAttempts'", 500)

// In the console

/** The console cannot process a request; the message says why. */
export const FST_TASKS_CONSOLE_REQUEST = errorClass<[problem: string]>()(
  'FST_TASKS_CONSOLE_REQUEST', 'The console cannot do that: %s', 400)

// At the end of a task

/** Passed to `onExhausted` for a task that the embedded queue dropped because it was older than 31 days. */
export const FST_TASKS_EXPIRED = errorClass<[name: string]>()(
  'FST_TASKS_EXPIRED', "Task '%s' was dropped: it was older than 31 days, the maximum age of a task in a queue", 410)

// On the task routes

/** The call has no valid credentials. Nothing ran. */
export const FST_TASKS_UNAUTHENTICATED = errorClass<[problem: string, options?: ErrorOptions]>()(
  'FST_TASKS_UNAUTHENTICATED', 'Unauthenticated: %s', 401)

/** The call comes from another identity. Nothing ran. */
export const FST_TASKS_FORBIDDEN = errorClass<[problem: string, options?: ErrorOptions]>()(
  'FST_TASKS_FORBIDDEN', 'Forbidden: %s', 403)

/** The token issuer's keys could not be fetched, so callers cannot be verified. Nothing ran; the task is retried. */
export const FST_TASKS_KEYS_UNAVAILABLE = createServerError<'FST_TASKS_KEYS_UNAVAILABLE', [hint: string, options?: ErrorOptions]>(
  'FST_TASKS_KEYS_UNAVAILABLE', 503, 'Callers cannot be verified at the moment',
  "The keys of the token issuer cannot be fetched, so no caller can be verified; check that this server can reach 'auth.jwksUri'%s")

/** The handler threw, or the attempt failed otherwise. It is retried. */
export const FST_TASKS_ATTEMPT_FAILED = createServerError<'FST_TASKS_ATTEMPT_FAILED', [name: string, options?: ErrorOptions]>(
  'FST_TASKS_ATTEMPT_FAILED', 500, 'The attempt failed',
  "An attempt of task '%s' failed")

/** The handler did not finish within the dispatch deadline. It is retried. */
export const FST_TASKS_DEADLINE_EXCEEDED = createServerError<'FST_TASKS_DEADLINE_EXCEEDED', [name: string, seconds: number]>(
  'FST_TASKS_DEADLINE_EXCEEDED', 504, 'The attempt exceeded its deadline',
  "An attempt of task '%s' exceeded its deadline of %d s")

/** The caller closed the connection before the handler finished, so no response can be sent. It is retried. */
export const FST_TASKS_DISCONNECTED = errorClass<[name: string]>()(
  'FST_TASKS_DISCONNECTED',
  "The caller of an attempt of task '%s' closed the connection before the handler finished; " +
    'if a proxy or the platform did, raise its request timeout to the dispatch deadline',
  499
)

/** The server closed before the handler finished. It is retried. */
export const FST_TASKS_ABORTED = createServerError<'FST_TASKS_ABORTED', [name: string]>(
  'FST_TASKS_ABORTED', 503, 'The attempt was aborted because the server is closing',
  "An attempt of task '%s' was aborted because the server is closing")

/** There are no dead letters: the option `deadLetterQueue` is not set. */
export const FST_TASKS_NO_DEAD_LETTERS = createServerError<'FST_TASKS_NO_DEAD_LETTERS', []>(
  'FST_TASKS_NO_DEAD_LETTERS', 500, 'Dead letters are not kept here',
  "No dead letters are kept; set the option 'deadLetterQueue' or CLOUD_TASKS_DEAD_LETTER_QUEUE to the id of a queue for them")

/** Invalid query of dead letters. */
export const FST_TASKS_INVALID_LETTER_QUERY = errorClass<[problem: string]>()(
  'FST_TASKS_INVALID_LETTER_QUERY', 'Invalid dead-letter query: %s', 400)

/** The dead-letter queue could not be read; `explanation` and `cause` say why. */
export const FST_TASKS_DEAD_LETTERS_FAILED = createServerError<'FST_TASKS_DEAD_LETTERS_FAILED', [problem: string, options?: ErrorOptions]>(
  'FST_TASKS_DEAD_LETTERS_FAILED', 503, 'The dead letters cannot be read',
  'The dead letters cannot be read: %s')

/** The handler called `task.retryAfter`: a copy of the task runs later. `app.tasks.run` rejects with it. */
export const FST_TASKS_POSTPONED = createServerError<'FST_TASKS_POSTPONED', [name: string, until: string, reason: string]>(
  'FST_TASKS_POSTPONED', 200, 'The task was postponed', // If it is not caught, Fastify responds with 500.
  "Task '%s' was postponed until %s%s")

/** The argument of `task.retryAfter` is not a time from now to 30 days ahead. Thrown in the handler. */
export const FST_TASKS_INVALID_DELAY = createServerError<'FST_TASKS_INVALID_DELAY', [name: string, problem: string]>(
  'FST_TASKS_INVALID_DELAY', 500, 'The task cannot be postponed',
  "task.retryAfter of task '%s' %s")

/** The handler called `task.retryAfter`, but the copy could not be created. The attempt fails and is retried. */
export const FST_TASKS_POSTPONE_FAILED = createServerError<
  'FST_TASKS_POSTPONE_FAILED', [name: string, problem: string, options?: ErrorOptions]
>(
  'FST_TASKS_POSTPONE_FAILED', 500, 'The task could not be postponed',
  "Task '%s' could not be postponed: %s")

/** The handler called `task.drop(reason)`: never retried. `app.tasks.run` rejects with it. */
export const FST_TASKS_DROPPED = createServerError<'FST_TASKS_DROPPED', [name: string, reason: string]>(
  'FST_TASKS_DROPPED', 200, 'The task was dropped', // If it is not caught, Fastify responds with 500.
  "Task '%s' was dropped: %s")
