import { readOptions, type Environment, type Read } from '../checks.js'
import type { QueueSettings } from '../cloud-tasks/task.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import { pluginOptions } from './options.js'
import { completeQueues } from './queues.js'
import { transportFacts, type TransportFacts } from './transports.js'

type Given = Read<typeof pluginOptions>

/** Options that need no resolution. */
type Unchanged =
  | 'prefix' | 'queue' | 'deadLetterQueue' |
  'client' | 'enqueueConcurrency' | 'invalidPayload' | 'exposeRoutes' | 'logLevel' | 'onExhausted' | 'onDropped'

/** The options and the environment, resolved: complete, checked and frozen. */
export interface Config extends TransportFacts, Pick<Given, Unchanged> {
  /** For messages only: everything that depends on it is in `TransportFacts`. */
  readonly transport: 'cloud' | 'local'
  /** Undefined: the project of the credentials. */
  readonly project: string | undefined
  readonly location: string
  /** Settings of the queues in the options, by id. */
  readonly queues: ReadonlyMap<string, QueueSettings>
  /** Directory of the embedded queue. Undefined: in memory. */
  readonly directory: string | undefined
  readonly taskTombstoneMs: number
  readonly localDelivery: 'loopback' | 'inject'
  readonly sendTimeoutMs: number
  readonly closeGraceMs: number
}

/**
 * @param worker whether this process has handlers, so that callers must be verified
 * @throws FST_TASKS_INVALID_OPTION, FST_TASKS_MISSING_SETTING, FST_TASKS_NOT_FOR_PRODUCTION
 */
export function resolveConfig (options: unknown, environment: Environment, worker: boolean): Config {
  const given = readOptions(pluginOptions, options, { refuse, environment })
  const { tasks, handlers, auth, local, sendTimeoutSeconds, closeGraceSeconds, ...unchanged } = given
  const facts = transportFacts(given, environment, worker)
  return Object.freeze({
    ...unchanged,
    ...facts,
    target: Object.freeze(facts.target),
    callers: Object.freeze(facts.callers),
    project: given.project,
    location: given.location ?? 'local',
    queues: completeQueues(given.queues, facts.maxDispatchesPerSecond),
    directory: local.directory,
    taskTombstoneMs: local.taskTombstoneSeconds * 1000,
    localDelivery: local.delivery,
    sendTimeoutMs: sendTimeoutSeconds * 1000,
    closeGraceMs: closeGraceSeconds * 1000
  })
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(problem)
}
