import { isPlainObject, nearest, optionChecks, unknownKey } from '../checks.js'
import { isLocationId, isProjectId, isQueueId } from '../cloud-tasks/names.js'
import type { QueueSettings } from '../cloud-tasks/task.js'
import { FST_TASKS_INVALID_OPTION, FST_TASKS_NOT_FOR_PRODUCTION } from '../errors.js'
import type { CloudTasksOptions } from './options.js'
import { resolveQueues } from './queues.js'
import { resolveDelivery, type Delivery, type Environment } from './target.js'

export type { Callers, OidcCallers, ResolvedTarget } from './target.js'

/** The options and the environment, resolved: complete, checked and frozen. */
export interface Config extends Delivery {
  readonly prefix: string
  readonly transport: 'cloud' | 'local'
  /** Undefined: that of the credentials. */
  readonly project: string | undefined
  readonly location: string
  readonly queue: string
  /** Settings of the queues that the options name. */
  readonly queues: ReadonlyMap<string, QueueSettings>
  readonly client: CloudTasksOptions['client']
  /** Where the embedded queue keeps tasks. Undefined: in memory. */
  readonly directory: string | undefined
  readonly taskTombstoneMs: number
  readonly sendTimeoutMs: number
  readonly enqueueConcurrency: number
  readonly closeGraceMs: number
  readonly invalidPayload: 'retry' | 'drop'
  readonly exposeRoutes: boolean
  readonly logLevel: CloudTasksOptions['logLevel']
  readonly onExhausted: CloudTasksOptions['onExhausted']
  readonly onDropped: CloudTasksOptions['onDropped']
}

const KEYS = ['tasks', 'handlers', 'prefix', 'transport', 'project', 'location', 'queue', 'queues', 'target', 'local', 'client', 'auth',
  'sendTimeoutSeconds', 'enqueueConcurrency', 'closeGraceSeconds', 'invalidPayload', 'exposeRoutes', 'logLevel', 'onExhausted', 'onDropped']

/**
 * @param worker whether this process has handlers, so that callers must be verified
 * @throws FST_TASKS_INVALID_OPTION, FST_TASKS_MISSING_SETTING, FST_TASKS_NOT_FOR_PRODUCTION
 */
export function resolveConfig (options: unknown, environment: Environment, worker: boolean): Config {
  if (!isPlainObject(options)) throw refuse('the options must be an object')
  const unknown = unknownKey(options, KEYS)
  if (unknown !== undefined) throw refuse(`option ${unknown}`)
  const check = optionChecks(refuse)

  const local = check.object(options, 'local', ['directory', 'taskTombstoneSeconds'])
  const directory = check.string(local, 'directory', "'local.directory'") ?? (environment.CLOUD_TASKS_DIRECTORY || undefined)
  if (directory === '') throw refuse("'local.directory' must be the path of a directory")
  const transport = resolveTransport(check.oneOf(options, 'transport', ['cloud', 'local'] as const), environment, directory !== undefined)
  const project = setting(check.string(options, 'project'), environment, 'GOOGLE_CLOUD_PROJECT')
  const location = setting(check.string(options, 'location'), environment, 'CLOUD_TASKS_LOCATION')
  const queue = setting(check.string(options, 'queue'), environment, 'CLOUD_TASKS_QUEUE')
  if (project !== undefined && !isProjectId(project.value)) throw refuse(`${project.source} must be a project id: letters, digits, hyphens, colons and periods`)
  if (location !== undefined && !isLocationId(location.value)) throw refuse(`${location.source} must be a region such as 'us-central1'`)
  if (queue !== undefined && !isQueueId(queue.value)) throw refuse(`${queue.source} must be a queue id: 1 to 100 letters, digits or hyphens`)

  const delivery = resolveDelivery(options, environment, { transport, project: project?.value, location: location?.value, worker })

  return Object.freeze({
    prefix: resolvePrefix(check.string(options, 'prefix')),
    transport,
    project: project?.value,
    location: location?.value ?? 'local',
    queue: queue?.value ?? 'default',
    queues: resolveQueues(options.queues, transport, refuse),
    ...delivery,
    client: check.instance(options, 'client', 'createTask') as CloudTasksOptions['client'],
    directory,
    taskTombstoneMs: check.number(local, 'taskTombstoneSeconds', 0, 9 * 86_400, 3600, "'local.taskTombstoneSeconds'") * 1000,
    sendTimeoutMs: check.number(options, 'sendTimeoutSeconds', 0.1, 600, 10) * 1000,
    enqueueConcurrency: check.integer(options, 'enqueueConcurrency', 1, 1000, 64),
    closeGraceMs: check.number(options, 'closeGraceSeconds', 0, 86_400, 8) * 1000,
    invalidPayload: check.oneOf(options, 'invalidPayload', ['retry', 'drop'] as const) ?? 'retry',
    exposeRoutes: check.boolean(options, 'exposeRoutes') ?? false,
    logLevel: check.oneOf(options, 'logLevel', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const),
    onExhausted: check.function(options, 'onExhausted') as CloudTasksOptions['onExhausted'],
    onDropped: check.function(options, 'onDropped') as CloudTasksOptions['onDropped']
  })
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(problem)
}

/** An option, or else a variable of the environment, with the name to use in messages. An empty variable counts as unset. */
function setting (option: string | undefined, environment: Environment, variable: string) {
  const name = variable === 'GOOGLE_CLOUD_PROJECT' ? 'project' : variable.slice('CLOUD_TASKS_'.length).toLowerCase()
  if (option !== undefined) return { value: option, source: `'${name}'` }
  const value = environment[variable]
  return value === undefined || value === '' ? undefined : { value, source: variable }
}

function resolveTransport (option: 'cloud' | 'local' | undefined, environment: Environment, durable: boolean): 'cloud' | 'local' {
  const variable = environment.CLOUD_TASKS_TRANSPORT || undefined
  if (option === undefined && variable !== undefined && variable !== 'cloud' && variable !== 'local') {
    throw refuse(`CLOUD_TASKS_TRANSPORT must be 'cloud' or 'local'${nearest(variable, ['cloud', 'local'])}`)
  }
  const production = environment.NODE_ENV === 'production'
  const inCloud = environment.CLOUD_TASKS_EMULATOR_HOST || environment.K_SERVICE || environment.GAE_SERVICE
  const chosen = option ?? variable as 'cloud' | 'local' | undefined ?? (inCloud ? 'cloud' : undefined)
  if (production && chosen === undefined) {
    throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and no transport is chosen; set 'transport' or CLOUD_TASKS_TRANSPORT to 'cloud'")
  }
  if (production && chosen === 'local' && !durable) {
    throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and the transport 'local' keeps tasks in memory, where a restart loses them; set 'local.directory' or CLOUD_TASKS_DIRECTORY, or use the transport 'cloud'")
  }
  return chosen ?? 'local'
}

function resolvePrefix (prefix: string = '/tasks'): string {
  if (prefix !== '' && !/^(?:\/[A-Za-z0-9._~-]+)+$/.test(prefix)) {
    throw refuse("'prefix' must start with '/', end without one, and have only letters, digits, '-', '.', '_', '~' and '/' in it; '' mounts the tasks at the root")
  }
  return prefix
}
