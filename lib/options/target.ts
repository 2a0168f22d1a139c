import { isPlainObject, optionChecks, unknownKey } from '../checks.js'
import { FST_TASKS_INVALID_OPTION, FST_TASKS_MISSING_SETTING } from '../errors.js'
import type { AppEngineTarget, AuthOptions } from './options.js'

/** Where attempts go, and from whom the task routes take them: the part of the configuration that depends on the place. */
export interface Delivery {
  readonly target: ResolvedTarget
  readonly callers: Callers
  /** HOST:PORT */
  readonly emulatorHost: string | undefined
}

export type ResolvedTarget = AppEngineTarget | ResolvedHttpTarget

export interface ResolvedHttpTarget {
  readonly type: 'http'
  /** Without a slash at its end. */
  readonly url: string
  readonly serviceAccountEmail?: string
  readonly audience: string
}

/** Who may call the task routes. */
export type Callers =
  | { readonly verify: 'nobody' }
  | { readonly verify: 'secret' }
  | { readonly verify: 'appEngine' }
  | OidcCallers

export interface OidcCallers {
  readonly verify: 'oidc'
  readonly issuers: readonly string[]
  readonly jwksUri: string
  readonly audiences: readonly string[]
  readonly emails: readonly string[]
  /** Cloud Run's IAM check has verified the signature, and may have cut it off. */
  readonly cloudRunIam: boolean
}

/** Where Google publishes the keys of its tokens. */
export const GOOGLE_KEYS = 'https://www.googleapis.com/oauth2/v3/certs'

export type Environment = Readonly<Record<string, string | undefined>>

/** What is known of the configuration by now. */
interface Setting {
  readonly transport: 'cloud' | 'local'
  readonly project: string | undefined
  readonly location: string | undefined
  /** This process has handlers, so callers must be verified. */
  readonly worker: boolean
}

/** @throws FST_TASKS_INVALID_OPTION, FST_TASKS_MISSING_SETTING with everything that is missing */
export function resolveDelivery (options: Readonly<Record<string, unknown>>, environment: Environment, setting: Setting): Delivery {
  const emulatorHost = setting.transport === 'cloud' ? readEmulatorHost(environment) : undefined
  const given = readTarget(options, environment)
  const auth = readAuth(options)
  if (setting.transport === 'cloud') refuseMissing(given, auth, emulatorHost, setting)
  const target = completeTarget(given, emulatorHost, setting)
  const callers = auth === false ? { verify: 'nobody' } as const : resolveCallers(auth, target, environment, setting)
  return { target: Object.freeze(target), callers: Object.freeze(callers), emulatorHost }
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(problem)
}

type GivenTarget = AppEngineTarget | { readonly type: 'http', readonly url?: string, readonly serviceAccountEmail?: string, readonly audience?: string }

type GivenAuth = false | { readonly [K in keyof AuthOptions]: K extends 'jwksUri' ? string : K extends 'cloudRunIam' ? boolean : readonly string[] }

function readEmulatorHost (environment: Environment): string | undefined {
  const host = environment.CLOUD_TASKS_EMULATOR_HOST || undefined
  if (host !== undefined && !(/^(?:[^\s/:@?#[\]]+|\[[0-9a-fA-F:]+\]):[1-9]\d{0,4}$/.test(host) && URL.canParse(`http://${host}`))) {
    throw refuse('CLOUD_TASKS_EMULATOR_HOST must be HOST:PORT, such as 127.0.0.1:8123, without a scheme')
  }
  return host
}

function readTarget (options: Readonly<Record<string, unknown>>, environment: Environment): GivenTarget {
  const check = optionChecks(refuse)
  const given = options.target
  const url = environment.CLOUD_TASKS_TARGET_URL || undefined
  const account = environment.CLOUD_TASKS_SERVICE_ACCOUNT || undefined
  if (given === undefined && environment.GAE_SERVICE && url === undefined) return { type: 'appEngine' }
  if (given !== undefined && !isPlainObject(given)) throw refuse("'target' must be { type: 'http', url } or { type: 'appEngine' }")

  const target = given ?? { type: 'http' }
  if (check.oneOf(target, 'type', ['http', 'appEngine'] as const, "'target.type'") === undefined) throw refuse("'target.type' must be 'http' or 'appEngine'")
  const unknown = unknownKey(target, target.type === 'http' ? ['type', 'url', 'serviceAccountEmail', 'audience'] : ['type', 'service', 'version'])
  if (unknown !== undefined) throw refuse(`'target': ${unknown}`)
  const text = <K extends string>(key: K, initial?: string): { [P in K]?: string } => {
    const value = check.string(target, key, `'target.${key}'`) ?? initial
    if (value === '') throw refuse(`'target.${key}' must not be empty`)
    return (value === undefined ? {} : { [key]: value }) as { [P in K]?: string }
  }
  if (target.type === 'appEngine') return { type: 'appEngine', ...text('service'), ...text('version') }
  const http = { type: 'http', ...text('url', url), ...text('serviceAccountEmail', account), ...text('audience') } as const
  if (http.serviceAccountEmail !== undefined) checkEmail(http.serviceAccountEmail, "'target.serviceAccountEmail' (or CLOUD_TASKS_SERVICE_ACCOUNT)")
  return http
}

function readAuth ({ auth }: Readonly<Record<string, unknown>>): GivenAuth {
  if (auth === false) return false
  if (auth === true) throw refuse("'auth' verifies by default; it must be false or an object")
  const check = optionChecks(refuse)
  const given = check.object({ auth }, 'auth', ['issuer', 'jwksUri', 'audience', 'serviceAccountEmail', 'cloudRunIam'] satisfies Array<keyof AuthOptions>)
  const texts = <K extends string>(key: K) => {
    const values = check.strings(given, key, `'auth.${key}'`)
    return (values === undefined ? {} : { [key]: values }) as { [P in K]?: readonly string[] }
  }
  const jwksUri = check.string(given, 'jwksUri', "'auth.jwksUri'")
  if (jwksUri !== undefined && !URL.canParse(jwksUri)) throw refuse("'auth.jwksUri' must be a URL")
  if (jwksUri !== undefined && (new URL(jwksUri).username !== '' || new URL(jwksUri).password !== '')) throw refuse("'auth.jwksUri' must not carry credentials")
  const emails = texts('serviceAccountEmail')
  for (const email of emails.serviceAccountEmail ?? []) checkEmail(email, "'auth.serviceAccountEmail'")
  const cloudRunIam = check.boolean(given, 'cloudRunIam', "'auth.cloudRunIam'")
  return {
    ...texts('issuer'), ...texts('audience'), ...emails, ...(jwksUri === undefined ? {} : { jwksUri }), ...(cloudRunIam === undefined ? {} : { cloudRunIam })
  }
}

function checkEmail (email: string, where: string): void {
  if (!/^[^\s@:]+@[^\s@:]+$/.test(email)) throw refuse(`${where} must be the e-mail address of a service account, such as tasks@PROJECT.iam.gserviceaccount.com`)
}

function refuseMissing (target: GivenTarget, auth: GivenAuth, emulatorHost: string | undefined, { project, location, worker }: Setting): void {
  const missing: string[] = []
  if (location === undefined) missing.push("'location' or CLOUD_TASKS_LOCATION: the region of the queue")
  if (project === undefined && emulatorHost !== undefined) {
    missing.push("'project' or GOOGLE_CLOUD_PROJECT: an emulator has no credentials to take it from")
  }
  if (target.type === 'http' && target.url === undefined) {
    missing.push("'target' or CLOUD_TASKS_TARGET_URL: the URL at which Cloud Tasks reaches this server")
  }
  if (target.type === 'http' && worker && auth !== false && (target.serviceAccountEmail ?? auth.serviceAccountEmail) === undefined) {
    missing.push("'target.serviceAccountEmail' or CLOUD_TASKS_SERVICE_ACCOUNT: the account whose token tells Cloud Tasks from everybody else, because there are 'handlers' here ('auth: false' would let everybody in)")
  }
  if (missing.length > 0) {
    throw new FST_TASKS_MISSING_SETTING(`The transport 'cloud' lacks ${missing.length === 1 ? 'a setting' : 'settings'}: ${missing.join('; ')}`)
  }
}

function completeTarget (target: GivenTarget, emulatorHost: string | undefined, { transport }: Setting): ResolvedTarget {
  if (target.type === 'appEngine') return target
  const url = transport === 'local' ? 'http://localhost' : checkUrl(target, emulatorHost)
  // Not the whole URL, as Cloud Tasks would have it: another route or a query would then change what is verified.
  return { ...target, url, audience: target.audience ?? new URL(url).origin }
}

/** Refuses what Cloud Tasks could not deliver to. */
function checkUrl (target: { readonly url?: string, readonly serviceAccountEmail?: string }, emulatorHost: string | undefined): string {
  const name = "'target.url' (or CLOUD_TASKS_TARGET_URL)"
  if (!URL.canParse(target.url ?? '')) throw refuse(`${name} must be a URL such as https://worker.example.com`)
  const url = new URL(target.url ?? '')
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refuse(`${name} must start with https:// or http://`)
  if (url.username !== '' || url.password !== '') throw refuse(`${name} must not carry credentials; name a service account in 'target.serviceAccountEmail'`)
  if (url.search !== '' || url.hash !== '') throw refuse(`${name} must not carry a query or a fragment`)
  if (url.protocol === 'http:' && target.serviceAccountEmail !== undefined && emulatorHost === undefined) {
    throw refuse(`${name} must start with https://, because Cloud Tasks sends no token over http`)
  }
  return url.origin + url.pathname.replace(/\/+$/, '')
}

function resolveCallers (auth: Exclude<GivenAuth, false>, target: ResolvedTarget, environment: Environment, { transport, worker }: Setting): Callers {
  if (transport === 'local') return { verify: 'secret' }
  if (target.type === 'appEngine') {
    if (Object.keys(auth).length > 0) throw refuse("'auth' describes the tokens of an HTTP target; App Engine sends none")
    if (worker && !environment.GAE_SERVICE) {
      throw refuse("'handlers' with an App Engine target run only on App Engine (GAE_SERVICE is unset): elsewhere anybody can forge its headers; use a target of type 'http' with a service account, or leave 'handlers' out")
    }
    return { verify: 'appEngine' }
  }
  const { jwksUri = GOOGLE_KEYS, cloudRunIam = false } = auth
  if (new URL(jwksUri).protocol !== 'https:' && !isNearby(new URL(jwksUri), environment)) {
    throw refuse("'auth.jwksUri' must start with https://, or else whoever sits on the line could sign tokens; http:// is for this machine and for emulators")
  }
  if (cloudRunIam && !environment.K_SERVICE) {
    throw refuse("'auth.cloudRunIam' needs Cloud Run (K_SERVICE is unset): elsewhere nobody has checked the signature of a token that comes without one")
  }
  return {
    verify: 'oidc',
    issuers: auth.issuer ?? ['https://accounts.google.com', 'accounts.google.com'],
    jwksUri,
    audiences: auth.audience ?? [target.audience],
    emails: auth.serviceAccountEmail ?? (target.serviceAccountEmail === undefined ? [] : [target.serviceAccountEmail]),
    cloudRunIam
  }
}

function isNearby ({ protocol, hostname }: URL, { CLOUD_TASKS_EMULATOR_HOST }: Environment): boolean {
  return protocol === 'http:' && (/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname) || Boolean(CLOUD_TASKS_EMULATOR_HOST))
}
