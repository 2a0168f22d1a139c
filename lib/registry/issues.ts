import { escapePointer } from './json-text.js'
import type { ValidationFault } from './validation.js'

/** An issue of a Standard Schema, with the fields of Zod's, Valibot's and ArkType's. */
interface Issue {
  readonly message?: unknown
  readonly path?: Iterable<unknown>
  /** Of Zod and ArkType. */
  readonly code?: unknown
  /** Of Valibot, and in limits of Zod 3. */
  readonly type?: unknown
  readonly expected?: unknown
  readonly origin?: unknown
  readonly format?: unknown
  readonly pattern?: unknown
  readonly minimum?: unknown
  readonly maximum?: unknown
  readonly inclusive?: unknown
  readonly divisor?: unknown
  readonly values?: unknown
  readonly options?: unknown
  /** Of the alternatives of a union: Zod 4 has a list for each, ArkType and Valibot have one list. */
  readonly errors?: unknown
  readonly issues?: unknown
}

/**
 * The issues of a Standard Schema in the form of ajv's errors. Their messages often quote the payload, so that `rule` is made of
 * what comes from the schema alone, for the libraries whose issues are known.
 */
export function faultsOfIssues (vendor: unknown, issues: readonly unknown[], around = ''): ValidationFault[] {
  return issues.flatMap(one => {
    const issue = (typeof one === 'object' && one !== null ? one : {}) as Issue
    const instancePath = pointerOf(issue, around)
    const keyword = issue.code ?? issue.type
    const fault: ValidationFault = {
      instancePath,
      message: typeof issue.message === 'string' ? issue.message : undefined,
      rule: ruleOf(vendor, issue) ?? 'does not fit its schema',
      ...(typeof keyword === 'string' ? { keyword } : {})
    }
    // ArkType's paths begin at the root in the alternatives of a union, too.
    return [...faultsOfIssues(vendor, alternativesOf(issue), vendor === 'arktype' ? '' : instancePath), fault]
  })
}

function pointerOf ({ path }: Issue, around: string): string {
  if (path === undefined || path === null || typeof path === 'string' || !(Symbol.iterator in Object(path))) return around
  return [...path].reduce<string>((pointer, step) => {
    const key = typeof step === 'object' && step !== null && 'key' in step ? step.key : step
    return `${pointer}/${escapePointer(String(key))}`
  }, around)
}

function alternativesOf ({ errors, issues }: Issue): unknown[] {
  const nested = errors ?? issues
  return Array.isArray(nested) ? nested.flat() : []
}

function ruleOf (vendor: unknown, issue: Issue): string | undefined {
  switch (vendor) {
    case 'zod': return zodRule(issue)
    case 'valibot': return valibotRule(issue)
    case 'arktype': return arktypeRule(issue)
    default: return undefined
  }
}

/** Of Zod 3 and 4. Refinements have messages only, which are the app's own and may quote anything. */
function zodRule (issue: Issue): string | undefined {
  const { code, expected, format, pattern, divisor, values, options } = issue
  switch (code) {
    case 'invalid_type': return `must be ${String(expected)}`
    case 'invalid_format': return format === 'regex' ? `must match pattern ${String(pattern)}` : `must match format "${String(format)}"`
    case 'invalid_string': return 'must match its format'
    case 'too_small': return limit(issue, issue.inclusive === false ? 'more than' : 'at least', issue.minimum)
    case 'too_big': return limit(issue, issue.inclusive === false ? 'less than' : 'at most', issue.maximum)
    case 'not_multiple_of': return divisor === undefined ? 'must be a multiple of its divisor' : `must be a multiple of ${String(divisor)}`
    case 'invalid_value':
    case 'invalid_enum_value': return oneOf(values ?? options)
    case 'invalid_union': return Array.isArray(options) ? oneOf(options) : 'must fit one of its alternatives'
    case 'unrecognized_keys': return 'must not have unknown keys'
    default: return undefined
  }
}

function limit ({ origin, type = origin }: Issue, than: string, bound: unknown): string {
  const unit = type === 'string' ? ' characters' : type === 'array' ? ' items' : ''
  return `must ${unit === '' ? 'be' : 'have'} ${than} ${String(bound)}${unit}`
}

function oneOf (values: unknown): string {
  return Array.isArray(values)
    ? `must be one of ${values.map(value => (typeof value === 'bigint' ? String(value) : JSON.stringify(value))).join(', ')}`
    : 'must be one of its values'
}

/** Checks of the app's own have no rule but their message. */
function valibotRule ({ type, expected }: Issue): string | undefined {
  if (typeof type !== 'string' || /check|custom|raw|transform/.test(type)) return undefined
  if (expected === 'never') return 'must not be there'
  return typeof expected === 'string' ? `must be ${expected}` : `must be a valid ${type.replaceAll('_', ' ')}`
}

/** What `expected` says comes from the schema in these; in unions and narrowed types it may quote the value. */
const ARKTYPE_RULES: ReadonlySet<unknown> = new Set([
  'domain', 'proto', 'unit', 'pattern', 'divisor', 'min', 'max', 'minLength', 'maxLength', 'exactLength', 'before', 'after', 'required'
])

function arktypeRule ({ code, expected }: Issue): string | undefined {
  if (code === 'union') return 'must fit one of its alternatives'
  return ARKTYPE_RULES.has(code) && typeof expected === 'string' ? `must be ${expected}` : undefined
}
