/**
 * Glossary:
 * - task definition: what a name stands for: path, payload schema, delivery policy. No code.
 * - registry: all definitions of an app, from `defineTasks`; at run time name -> path, schema, handler.
 * - handler: the function that does the work.
 * - task: one enqueued unit, as Cloud Tasks stores it.
 * - attempt: one delivery of a task to its route.
 * - outcome: the result of an attempt: done, retry, dropped or postponed.
 * - transport: where `enqueue` sends tasks: `cloud` or `local`.
 * - engine: Cloud Tasks' behaviour in this process: queues, schedule, retry, rate limits, names. It knows no Fastify.
 * - store: where the engine keeps tasks: in memory or on disk.
 */
import { isPlainObject, nearest, oneOf, option, readOptions, string, type Declared } from '../checks.js'
import { deadlineProblem } from '../cloud-tasks/limits.js'
import { isQueueId } from '../cloud-tasks/names.js'
import { FST_TASKS_DUPLICATE_PATH, FST_TASKS_INVALID_DEFINITION, FST_TASKS_INVALID_HANDLER } from '../errors.js'
import type { HandlerFunction, KnownKeys, TaskDefinition, TaskDefinitions, TaskMethod } from './definitions.js'
import { isStandardSchema, type PayloadSchema } from './schema.js'

/** A definition with its defaults filled in. */
export interface RegisteredTask {
  readonly name: string
  readonly path: string
  readonly method: TaskMethod
  readonly payload: PayloadSchema
  readonly queue: string | undefined
  readonly dispatchDeadlineSeconds: number | undefined
  readonly deadLetterQueue: false | undefined
  readonly handler: HandlerFunction<any> | undefined
}

/** Tasks by name. */
export type Registry = ReadonlyMap<string, RegisteredTask>

/**
 * Defines the tasks of an app. Returns the definitions, frozen, with their literal types, from which names and payloads are derived.
 * @throws FST_TASKS_INVALID_DEFINITION, FST_TASKS_DUPLICATE_PATH
 */
export function defineTasks<const M extends TaskDefinitions> (definitions: M & KnownKeys<M>): M {
  createRegistry(definitions)
  for (const definition of Object.values(definitions)) Object.freeze(definition)
  return Object.freeze(definitions)
}

/** Combines definitions and handlers. Throws when they do not match. */
export function createRegistry (definitions: unknown, handlers: unknown = {}): Registry {
  if (!isPlainObject(definitions)) {
    throw new FST_TASKS_INVALID_DEFINITION("'tasks' must be an object of task definitions by name, as defineTasks returns it")
  }
  if (!isPlainObject(handlers)) throw new FST_TASKS_INVALID_HANDLER("'handlers' must be an object of functions by task name")
  for (const [name, handler] of Object.entries(handlers)) {
    if (!Object.hasOwn(definitions, name)) {
      throw new FST_TASKS_INVALID_HANDLER(
        `There is a handler for '${name}', which is not a defined task${nearest(name, Object.keys(definitions))}`
      )
    }
    if (typeof handler !== 'function' && handler !== undefined) {
      throw new FST_TASKS_INVALID_HANDLER(`The handler of task '${name}' must be a function`)
    }
  }

  const registry = new Map<string, RegisteredTask>()
  const byPath = new Map<string, string>()
  for (const [name, definition] of Object.entries(definitions)) {
    const task = complete(name, definition, Object.hasOwn(handlers, name) ? handlers[name] as HandlerFunction : undefined)
    const other = byPath.get(task.path)
    if (other !== undefined) throw new FST_TASKS_DUPLICATE_PATH(name, task.path, other)
    byPath.set(task.path, name)
    registry.set(name, task)
  }
  return registry
}

const PATH_RULE = "one that starts with '/' and contains only letters, digits, '-', '.', '_', '~' and '/'"

/** Check and default of each key of a definition. */
export const definitionOptions = {
  path: string({ valid: isTaskPath, must: `must be ${PATH_RULE}` }),
  method: oneOf(['POST', 'PUT', 'PATCH'], { default: 'POST' }),
  payload: option<PayloadSchema>(value => isSchema(value) ? undefined : 'must be a schema, such as Type.Object({ order: Type.String() })'),
  queue: string({ valid: isQueueId, must: 'must be a queue id: 1 to 100 letters, digits or hyphens' }),
  // The plugin checks the limits of its target.
  dispatchDeadlineSeconds: option<number>(value => deadlineProblem(value, undefined)),
  deadLetterQueue: option<false>(
    value => value === false ? undefined : "must be false or left out; the queue is set by the plugin's option"
  )
} satisfies Declared<TaskDefinition>

function complete (name: string, definition: unknown, handler: HandlerFunction | undefined): RegisteredTask {
  const refuse = (problem: string) => new FST_TASKS_INVALID_DEFINITION(`Task '${name}': ${problem}`)
  if (name === '' || name.length > 200 || /[\p{Cc}\s]/u.test(name)) throw refuse('a task name has 1 to 200 characters and no white space')
  if (!isPlainObject(definition)) throw refuse('a definition is an object such as { payload: Type.Object({}) }')

  const read = readOptions(definitionOptions, definition, { refuse })
  const { path = `/${name}`, method, payload, queue, dispatchDeadlineSeconds, deadLetterQueue } = read
  if (!isTaskPath(path)) throw refuse(`its name is not a valid path, so it needs a 'path': ${PATH_RULE}`)
  if (payload === undefined) throw refuse("it needs a 'payload', a schema such as Type.Object({ order: Type.String() })")
  return Object.freeze({ name, path, method, payload, queue, dispatchDeadlineSeconds, deadLetterQueue, handler })
}

/** No parameters, wildcards, queries or dot segments: the URL that is called is exactly the route's. */
function isTaskPath (path: string): boolean {
  return path.length <= 1000 && /^(?:\/[A-Za-z0-9._~-]+)+$/.test(path) && !/\/\.{1,2}(?:\/|$)/.test(path)
}

function isSchema (value: unknown): boolean {
  return isStandardSchema(value) || (typeof value === 'object' && value !== null && !Array.isArray(value))
}
