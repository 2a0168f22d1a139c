import { escapePointer } from './json-text.js'
import type { ValidationFault } from './validation.js'

/** An issue of a Standard Schema, with the fields of Zod, Valibot and ArkType. */
interface Issue {
  readonly message?: unknown
  readonly path?: Iterable<unknown>
  /** Zod and ArkType. */
  readonly code?: unknown
  /** Valibot, and limits in Zod 3. */
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
  /** Issues of a union's alternatives: a list for each in Zod 4, one list in ArkType and Valibot. */
  readonly errors?: unknown
  readonly issues?: unknown
}

/**
 * Converts the issues of a Standard Schema to the form of ajv's errors. Their messages often quote the payload, so `rule` is derived
 * from the schema only, for libraries whose issues are known.
 */
export function faultsOfIssues (vendor: unknown, issues: readonly unknown[], around = ''): ValidationFault[] {
  return issues.flatMap(one => {
    const issue = (typeof one === 'object' && one !== null ? one : {}) as Issue
    const instancePath = pointerOf(issue, around)
    const keyword = issue.code ?? issue.type
    const fault: ValidationFault = {
      instancePath,
      message: typeof issue.message === 'string' ? issue.message : undefined,
      rule: ruleOf(vendor, issue) ?? 'does not match its schema',
      ...(typeof keyword === 'string' ? { keyword } : {})
    }
    // ArkType's paths start at the root, even in the alternatives of a union.
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

/** For Zod 3 and 4. Refinements only have messages, which are the app's own and can quote anything. */
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
    case 'invalid_union': return Array.isArray(options) ? oneOf(options) : 'must match one of its alternatives'
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

/** The app's own checks only have messages. */
function valibotRule ({ type, expected }: Issue): string | undefined {
  if (typeof type !== 'string' || /check|custom|raw|transform/.test(type)) return undefined
  if (expected === 'never') return 'must be absent'
  return typeof expected === 'string' ? `must be ${expected}` : `must be a valid ${type.replaceAll('_', ' ')}`
}

/** Codes whose `expected` comes from the schema; in unions and narrowed types it can quote the value. */
const ARKTYPE_RULES: ReadonlySet<unknown> = new Set([
  'domain', 'proto', 'unit', 'pattern', 'divisor', 'min', 'max', 'minLength', 'maxLength', 'exactLength', 'before', 'after', 'required'
])

function arktypeRule ({ code, expected }: Issue): string | undefined {
  if (code === 'union') return 'must match one of its alternatives'
  return ARKTYPE_RULES.has(code) && typeof expected === 'string' ? `must be ${expected}` : undefined
}
