import { boolean, option, section, strings, type Declared, type Environment, type Option, type Read } from '../checks.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import { serviceAccount } from './service-account.js'
import type { ResolvedHttpTarget, ResolvedTarget } from './target.js'

/** Which OIDC tokens the routes of an HTTP target accept. */
export interface AuthOptions {
  /** @default Google's: `https://accounts.google.com` and `accounts.google.com` */
  readonly issuer?: string | readonly string[]
  /** @default Google's: `https://www.googleapis.com/oauth2/v3/certs` */
  readonly jwksUri?: string
  /** @default the audience of `target` */
  readonly audience?: string | readonly string[]
  /** @default the service account of `target` */
  readonly serviceAccountEmail?: string | readonly string[]
  /**
   * Set it when Cloud Run authenticates all requests of this service (`--no-allow-unauthenticated`): it verifies a token's signature
   * and removes it, so that only the claims can be checked here. On a service that allows unauthenticated calls, it would accept
   * forged tokens. @default false
   */
  readonly cloudRunIam?: boolean
}

export const authOptions = {
  issuer: strings(),
  jwksUri: option<string>(uri => {
    if (typeof uri !== 'string' || !URL.canParse(uri)) return 'must be a URL'
    return new URL(uri).username === '' && new URL(uri).password === '' ? undefined : 'must not carry credentials'
  }),
  audience: strings(),
  serviceAccountEmail: strings(serviceAccount),
  cloudRunIam: boolean({ default: false })
} satisfies Declared<AuthOptions>

export type GivenAuth = false | 'emulator' | Read<typeof authOptions>

export const authOption: Option<GivenAuth> = {
  options: authOptions,
  read (value, path, reading) {
    if (value === true) throw reading.refuse(`'${path}' verifies by default; it must be false, 'emulator' or an object`)
    if (typeof value === 'string' && value !== 'emulator') throw reading.refuse(`'${path}' must be false, 'emulator' or an object`)
    if (value === 'emulator' && !reading.environment?.CLOUD_TASKS_EMULATOR_HOST) {
      throw reading.refuse(`'${path}' is 'emulator', but CLOUD_TASKS_EMULATOR_HOST is not set; for Google Cloud, leave '${path}' out`)
    }
    if (value === false || value === 'emulator') return value
    return section(authOptions).read(value, path, reading)
  }
}

/** Who may call the task routes. */
export type Callers =
  | { readonly verify: 'none' }
  | { readonly verify: 'secret' }
  | { readonly verify: 'appEngine' }
  | OidcCallers

export interface OidcCallers {
  readonly verify: 'oidc'
  /** Undefined: any, where only one issuer has the keys. */
  readonly issuers: readonly string[] | undefined
  readonly jwksUri: string
  readonly audiences: readonly string[]
  readonly emails: readonly string[]
  /** Cloud Run's IAM check has verified the signature, and may have removed it. */
  readonly cloudRunIam: boolean
}

/** Google's public keys for OIDC tokens. */
export const GOOGLE_KEYS = 'https://www.googleapis.com/oauth2/v3/certs'

/**
 * How attempts from Cloud Tasks are authenticated.
 * @param worker whether this process has handlers
 * @throws FST_TASKS_INVALID_OPTION
 */
export function cloudCallers (auth: GivenAuth, target: ResolvedTarget, environment: Environment, worker: boolean): Callers {
  if (auth === false) return { verify: 'none' }
  if (target.type === 'appEngine') return appEngineCallers(auth, environment, worker)
  if (auth === 'emulator') return emulatorCallers(target, environment)
  const { jwksUri = GOOGLE_KEYS, cloudRunIam } = auth
  if (new URL(jwksUri).protocol !== 'https:' && !isNearby(new URL(jwksUri), environment)) {
    throw refuse("'auth.jwksUri' must start with https://, or a man in the middle could replace the keys and forge tokens; " +
      'http:// is allowed only for localhost and with an emulator')
  }
  if (cloudRunIam && !environment.K_SERVICE) {
    throw refuse("'auth.cloudRunIam' needs Cloud Run (K_SERVICE is unset): " +
      'elsewhere nothing has verified the signature that is missing from the token')
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

/**
 * Accepts tokens signed by the emulator. Their issuer is not checked: it is the emulator's listening address, which can differ from
 * CLOUD_TASKS_EMULATOR_HOST, and only the emulator has the keys.
 */
function emulatorCallers ({ audience, serviceAccountEmail }: ResolvedHttpTarget, environment: Environment): Callers {
  return {
    verify: 'oidc',
    issuers: undefined,
    jwksUri: `http://${environment.CLOUD_TASKS_EMULATOR_HOST}/jwks`,
    audiences: [audience],
    emails: serviceAccountEmail === undefined ? [] : [serviceAccountEmail],
    cloudRunIam: false
  }
}

function appEngineCallers (auth: Exclude<GivenAuth, false>, environment: Environment, worker: boolean): Callers {
  if (auth === 'emulator' || describesTokens(auth)) {
    throw refuse("'auth' describes the tokens of an HTTP target; App Engine sends none")
  }
  if (worker && !environment.GAE_SERVICE) {
    throw refuse("'handlers' with an App Engine target run only on App Engine (GAE_SERVICE is unset): elsewhere any caller can forge " +
      "its headers; use a target of type 'http' with a service account, or leave 'handlers' out")
  }
  return { verify: 'appEngine' }
}

function describesTokens ({ cloudRunIam, ...tokens }: Read<typeof authOptions>): boolean {
  return cloudRunIam || Object.keys(tokens).length > 0
}

function isNearby ({ protocol, hostname }: URL, { CLOUD_TASKS_EMULATOR_HOST }: Environment): boolean {
  return protocol === 'http:' && (/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname) || Boolean(CLOUD_TASKS_EMULATOR_HOST))
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(problem)
}
