/** A JSON schema, read with suspicion: any keyword may hold anything. */
export type Schema = Readonly<Record<string, any>>

/** Looks up what `$ref` points at, inside one document. */
export type Resolve = (ref: string) => Schema | undefined

export function isSchema (value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isList (value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > 0
}

/** By JSON pointer, `$id` or `$anchor`; what lies in other documents is not found. */
export function resolver (root: Schema): Resolve {
  const byId = new Map<string, Schema>()
  const seen = new Set<unknown>()
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    const { $id, $anchor } = value as Schema
    if (typeof $id === 'string' && !byId.has($id)) byId.set($id, value as Schema)
    if (typeof $anchor === 'string' && !byId.has(`#${$anchor}`)) byId.set(`#${$anchor}`, value as Schema)
    for (const one of Object.values(value)) visit(one)
  }
  visit(root)
  return ref => {
    const [document = '', pointer = ''] = ref.split('#', 2)
    const from = document === '' ? root : byId.get(document)
    if (byId.has(ref)) return byId.get(ref)
    return pointer === '' || pointer.startsWith('/') ? follow(from, pointer) : undefined
  }
}

function follow (from: unknown, pointer: string): Schema | undefined {
  const keys = pointer.split('/').slice(1).map(key => decoded(key).replaceAll('~1', '/').replaceAll('~0', '~'))
  let value = from
  for (const key of keys) value = typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Schema)[key] : undefined
  return isSchema(value) ? value : undefined
}

function decoded (key: string): string {
  try {
    return decodeURIComponent(key)
  } catch {
    return key
  }
}

/** One schema that asks for what both ask for, as far as one can. */
export function merge (a: Schema, b: Schema): Schema {
  const merged: Record<string, any> = { ...a, ...b }
  for (const key of ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']) combine(key, Math.max)
  for (const key of ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']) combine(key, Math.min)
  if (isSchema(a.properties) || isSchema(b.properties)) merged.properties = mergeProperties(a, b)
  if (Array.isArray(a.required) && Array.isArray(b.required)) merged.required = [...new Set([...a.required, ...b.required])]
  if (Array.isArray(a.enum) && Array.isArray(b.enum)) merged.enum = a.enum.filter(one => b.enum.some((other: unknown) => equal(one, other)))
  if (a.type !== undefined && b.type !== undefined) merged.type = commonTypes(a.type, b.type)
  if (isSchema(a.items) && isSchema(b.items)) merged.items = merge(a.items, b.items)
  if (a.additionalProperties === false || b.additionalProperties === false) merged.additionalProperties = false
  if (a.multipleOf !== undefined && b.multipleOf !== undefined && a.multipleOf % b.multipleOf === 0) merged.multipleOf = a.multipleOf
  else if (a.multipleOf !== undefined && b.multipleOf !== undefined && b.multipleOf % a.multipleOf !== 0) merged.multipleOf = a.multipleOf * b.multipleOf
  if (a.uniqueItems === true) merged.uniqueItems = true
  // Both hold; only one of them leads the search, and the check at its end asks for the other.
  for (const key of ['anyOf', 'oneOf', 'pattern', 'not']) {
    if (a[key] !== undefined && b[key] !== undefined && !equal(a[key], b[key])) merged.allOf = [...(merged.allOf ?? []), { [key]: a[key] }]
  }
  if (a.allOf !== undefined && b.allOf !== undefined) merged.allOf = [...new Set([...a.allOf, ...merged.allOf])]
  return merged

  function combine (key: string, choose: (x: number, y: number) => number): void {
    if (typeof a[key] === 'number' && typeof b[key] === 'number') merged[key] = choose(a[key], b[key])
  }
}

/** Where one side allows no others, those of the other side are left out. */
function mergeProperties (a: Schema, b: Schema): Schema {
  const [left, right] = [a.properties ?? {}, b.properties ?? {}] as [Schema, Schema]
  const allowed = (by: Schema, key: string) => by.additionalProperties !== false || Object.hasOwn(by.properties ?? {}, key)
  const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].filter(key => allowed(a, key) && allowed(b, key))
  return Object.fromEntries(keys.map(key => {
    if (!Object.hasOwn(left, key)) return [key, right[key]]
    if (!Object.hasOwn(right, key)) return [key, left[key]]
    return [key, isSchema(left[key]) && isSchema(right[key]) ? merge(left[key], right[key]) : left[key] === false ? false : right[key]]
  }))
}

function commonTypes (a: unknown, b: unknown): unknown {
  const [left, right] = [a, b].map(type => [type].flat() as string[]) as [string[], string[]]
  const common = [...new Set(left.flatMap(one => right.flatMap(other => {
    if (one === other) return [one]
    return (one === 'integer' && other === 'number') || (one === 'number' && other === 'integer') ? ['integer'] : []
  })))]
  return common.length === 1 ? common[0] : common
}

/** Whether two JSON values are the same. */
export function equal (a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false
  const [left, right] = [Object.keys(a), Object.keys(b)]
  return left.length === right.length && left.every(key => Object.hasOwn(b, key) && equal((a as Schema)[key], (b as Schema)[key]))
}
