import { isPlainObject, oneOf, readOptions, string, text, type Declared, type Option, type Read } from '../checks.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import { serviceAccount } from './service-account.js'

export interface AppEngineTarget {
  readonly type: 'appEngine'
  /** @default the service of the queue's routing override, or `default` */
  readonly service?: string
  readonly version?: string
}

export interface HttpTarget {
  readonly type: 'http'
  /** Base URL of the server. Environment: `CLOUD_TASKS_TARGET_URL`. */
  readonly url?: string
  /**
   * Service account of the OIDC tokens from Cloud Tasks; the task routes accept no other. Environment: `CLOUD_TASKS_SERVICE_ACCOUNT`.
   * @default with `auth: 'emulator'` tasks@emulator.iam.gserviceaccount.com
   */
  readonly serviceAccountEmail?: string
  /** Audience of that token. @default the origin of `url` */
  readonly audience?: string
}

const TYPES = ['http', 'appEngine'] as const

export const appEngineTargetOptions = {
  type: oneOf(['appEngine']),
  service: text(),
  version: text()
} satisfies Declared<AppEngineTarget>

export const httpTargetOptions = {
  type: oneOf(['http']),
  url: text({ variable: 'CLOUD_TASKS_TARGET_URL' }),
  serviceAccountEmail: string({ ...serviceAccount, variable: 'CLOUD_TASKS_SERVICE_ACCOUNT' }),
  audience: text()
} satisfies Declared<HttpTarget>

/** A target from options and environment, each part checked on its own. */
export type GivenTarget =
  | Read<typeof appEngineTargetOptions> & { readonly type: 'appEngine' }
  | Read<typeof httpTargetOptions> & { readonly type: 'http' }

/** Defaults to App Engine where `GAE_SERVICE` is set and no URL is, else to HTTP. */
export const targetOption: Option<GivenTarget> = {
  options: { ...appEngineTargetOptions, ...httpTargetOptions, type: oneOf(TYPES) },
  read (value, path, reading) {
    const { refuse, environment = {} } = reading
    if (value !== undefined && !isPlainObject(value)) throw refuse(`'${path}' must be { type: 'http', url } or { type: 'appEngine' }`)
    const onAppEngine = Boolean(environment.GAE_SERVICE) && !environment.CLOUD_TASKS_TARGET_URL
    const given = value ?? { type: onAppEngine ? 'appEngine' : 'http' }
    const type = oneOf(TYPES).read(given.type ?? '', `${path}.type`, reading)
    const declared = type === 'http' ? httpTargetOptions : appEngineTargetOptions
    return readOptions(declared, given, reading, path) as GivenTarget
  }
}

/** The complete target of attempts. */
export type ResolvedTarget = AppEngineTarget | ResolvedHttpTarget

export interface ResolvedHttpTarget {
  readonly type: 'http'
  /** Without a trailing slash. */
  readonly url: string
  readonly serviceAccountEmail?: string
  readonly audience: string
}

/**
 * The target of tasks in Google Cloud or an emulator.
 * @param emulatorHost undefined for Google Cloud, which sends tokens over https only
 */
export function cloudTarget (given: GivenTarget, emulatorHost: string | undefined): ResolvedTarget {
  if (given.type === 'appEngine') return given
  const url = checkedUrl(given, emulatorHost)
  return { ...given, url, audience: given.audience ?? defaultAudience(url) }
}

/** The target of tasks in the embedded queue: this process, without a token. */
export function embeddedTarget ({ type }: Pick<GivenTarget, 'type'>): ResolvedTarget {
  return type === 'appEngine' ? { type } : { type, url: EMBEDDED_ORIGIN, audience: EMBEDDED_ORIGIN }
}

/** The origin in the URLs of the embedded queue's tasks. */
export const EMBEDDED_ORIGIN = 'http://localhost'

/** Not the whole URL, which is Cloud Tasks' default: the audience would then depend on the route and the query. */
function defaultAudience (url: string): string {
  return new URL(url).origin
}

/** Rejects URLs to which Cloud Tasks cannot deliver. */
function checkedUrl (target: Extract<GivenTarget, { type: 'http' }>, emulatorHost: string | undefined): string {
  const { url: given = '', serviceAccountEmail } = target
  const refuse = (problem: string) => new FST_TASKS_INVALID_OPTION(`'target.url' (or CLOUD_TASKS_TARGET_URL) ${problem}`)
  if (!URL.canParse(given)) throw refuse('must be a URL such as https://worker.example.com')
  const url = new URL(given)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refuse('must start with https:// or http://')
  if (url.username !== '' || url.password !== '') {
    throw refuse("must not contain credentials; set a service account in 'target.serviceAccountEmail'")
  }
  if (url.search !== '' || url.hash !== '') throw refuse('must not contain a query or a fragment')
  if (url.protocol === 'http:' && serviceAccountEmail !== undefined && emulatorHost === undefined) {
    throw refuse('must start with https://, because Cloud Tasks sends no token over http')
  }
  return url.origin + url.pathname.replace(/\/+$/, '')
}
