import type { Environment, Read } from '../checks.js'
import { MAX_DISPATCHES_PER_SECOND } from '../cloud-tasks/limits.js'
import { FST_TASKS_INVALID_OPTION, FST_TASKS_MISSING_SETTING, FST_TASKS_NOT_FOR_PRODUCTION } from '../errors.js'
import { cloudCallers, type Callers } from './auth.js'
import type { pluginOptions } from './options.js'
import { LOCAL_MAX_DISPATCHES_PER_SECOND } from './queues.js'
import { cloudTarget, embeddedTarget, type GivenTarget, type ResolvedTarget } from './target.js'

/** Everything that depends on the transport. Only this file compares 'cloud' with 'local'; all others read these facts. */
export interface TransportFacts {
  /** Tasks run on the embedded queue, whose queue settings are updated from the options on every start. */
  readonly embedded: boolean
  /** Tasks are lost when the process ends. */
  readonly volatile: boolean
  readonly maxDispatchesPerSecond: number
  readonly target: ResolvedTarget
  readonly callers: Callers
  /** HOST:PORT of an emulator that replaces Cloud Tasks. */
  readonly emulatorHost: string | undefined
}

type Given = Read<typeof pluginOptions>

/**
 * @param worker whether this process has handlers, so that callers must be verified
 * @throws FST_TASKS_INVALID_OPTION, FST_TASKS_MISSING_SETTING with all missing settings, FST_TASKS_NOT_FOR_PRODUCTION
 */
export function transportFacts (
  given: Given, environment: Environment, worker: boolean
): TransportFacts & { readonly transport: 'cloud' | 'local' } {
  const transport = chooseTransport(given.transport, environment)
  const facts = transport === 'cloud' ? cloudFacts(given, environment, worker) : embeddedFacts(given)
  if (facts.volatile && environment.NODE_ENV === 'production') {
    throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and the transport 'local' keeps tasks in memory, where a restart " +
      "loses them; set 'local.directory' or CLOUD_TASKS_DIRECTORY, or use the transport 'cloud'")
  }
  return { transport, ...facts }
}

function chooseTransport (given: Given['transport'], environment: Environment): 'cloud' | 'local' {
  if (given !== undefined) return given
  if (environment.CLOUD_TASKS_EMULATOR_HOST || environment.K_SERVICE || environment.GAE_SERVICE) return 'cloud'
  if (environment.NODE_ENV !== 'production') return 'local'
  throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and 'transport' is not set; " +
    "set 'transport' or CLOUD_TASKS_TRANSPORT to 'cloud'")
}

function embeddedFacts ({ target, auth, local }: Given): TransportFacts {
  return {
    embedded: true,
    volatile: local.directory === undefined,
    maxDispatchesPerSecond: LOCAL_MAX_DISPATCHES_PER_SECOND,
    target: embeddedTarget(target),
    callers: { verify: auth === false ? 'none' : 'secret' },
    emulatorHost: undefined
  }
}

function cloudFacts (given: Given, environment: Environment, worker: boolean): TransportFacts {
  const emulatorHost = readEmulatorHost(environment)
  const missing = missingSettings(given, emulatorHost, worker)
  if (missing.length > 0) {
    const settings = missing.length === 1 ? 'a setting' : 'settings'
    throw new FST_TASKS_MISSING_SETTING(`The transport 'cloud' lacks ${settings}: ${missing.join('; ')}`)
  }
  const target = cloudTarget(given.auth === 'emulator' ? withAccount(given.target) : given.target, emulatorHost)
  return {
    embedded: false,
    volatile: false,
    maxDispatchesPerSecond: MAX_DISPATCHES_PER_SECOND,
    target,
    callers: cloudCallers(given.auth, target, environment, worker),
    emulatorHost
  }
}

/** An emulator signs tokens for any account. */
function withAccount (target: GivenTarget): GivenTarget {
  return target.type === 'http' ? { serviceAccountEmail: 'tasks@emulator.iam.gserviceaccount.com', ...target } : target
}

function readEmulatorHost ({ CLOUD_TASKS_EMULATOR_HOST: host }: Environment): string | undefined {
  if (!host) return undefined
  if (/^(?:[^\s/:@?#[\]]+|\[[0-9a-fA-F:]+\]):[1-9]\d{0,4}$/.test(host) && URL.canParse(`http://${host}`)) return host
  throw new FST_TASKS_INVALID_OPTION('CLOUD_TASKS_EMULATOR_HOST must be HOST:PORT, such as 127.0.0.1:8123, without a scheme')
}

function missingSettings ({ location, project, target, auth }: Given, emulatorHost: string | undefined, worker: boolean): string[] {
  const missing: string[] = []
  if (location === undefined) missing.push("'location' or CLOUD_TASKS_LOCATION: the region of the queue")
  if (project === undefined && emulatorHost !== undefined) {
    missing.push("'project' or GOOGLE_CLOUD_PROJECT: an emulator has no credentials to take it from")
  }
  if (target.type === 'http' && target.url === undefined) {
    missing.push("'target' or CLOUD_TASKS_TARGET_URL: the URL at which Cloud Tasks reaches this server")
  }
  const needsAccount = target.type === 'http' && worker && typeof auth === 'object'
  if (needsAccount && (target.serviceAccountEmail ?? auth.serviceAccountEmail) === undefined) {
    missing.push("'target.serviceAccountEmail' or CLOUD_TASKS_SERVICE_ACCOUNT: the account whose token identifies Cloud Tasks, " +
      "which is needed because there are 'handlers' ('auth: false' would let every caller in)")
  }
  return missing
}
