import t from 'tap'
import { faultsOfIssues } from '../../lib/registry/issues.js'
import { compiledValidator, standardValidator } from '../../lib/registry/validators.js'

/** The rule of an issue. */
function rule (vendor: string, issue: object): unknown {
  return faultsOfIssues(vendor, [issue]).at(-1)?.rule
}

const NO_RULE = 'does not match its schema'

t.test('a rule is derived from the schema in the issues of Zod', async t => {
  for (const [issue, expected] of [
    [{ code: 'invalid_type', expected: 'string' }, 'must be string'],
    [{ code: 'invalid_format', format: 'email' }, 'must match format "email"'],
    [{ code: 'invalid_format', format: 'regex', pattern: '/^a$/' }, 'must match pattern /^a$/'],
    [{ code: 'invalid_string', validation: 'email' }, 'must match its format'],
    [{ code: 'too_small', origin: 'number', minimum: 3 }, 'must be at least 3'],
    [{ code: 'too_small', origin: 'number', minimum: 3, inclusive: true }, 'must be at least 3'],
    [{ code: 'too_small', origin: 'number', minimum: 3, inclusive: false }, 'must be more than 3'],
    [{ code: 'too_small', type: 'string', minimum: 3 }, 'must have at least 3 characters'],
    [{ code: 'too_small', origin: 'array', minimum: 3, inclusive: false }, 'must have more than 3 items'],
    [{ code: 'too_small', type: 'array', origin: 'string', minimum: 3 }, 'must have at least 3 items'],
    [{ code: 'too_big', origin: 'number', maximum: 3n }, 'must be at most 3'],
    [{ code: 'too_big', origin: 'number', maximum: 3, inclusive: false }, 'must be less than 3'],
    [{ code: 'too_big', origin: 'string', maximum: 3 }, 'must have at most 3 characters'],
    [{ code: 'not_multiple_of', divisor: 5 }, 'must be a multiple of 5'],
    [{ code: 'not_multiple_of', multipleOf: 5 }, 'must be a multiple of its divisor'],
    [{ code: 'invalid_value', values: ['a', 1, 5n, null] }, 'must be one of "a", 1, 5, null'],
    [{ code: 'invalid_enum_value', options: ['a'] }, 'must be one of "a"'],
    [{ code: 'invalid_value' }, 'must be one of its values'],
    [{ code: 'invalid_union' }, 'must match one of its alternatives'],
    [{ code: 'invalid_union', options: ['a', 'b'] }, 'must be one of "a", "b"'],
    [{ code: 'unrecognized_keys', keys: ['secret'] }, 'must not have unknown keys'],
    [{ code: 'custom', message: 'secret', expected: 'secret' }, NO_RULE],
    [{ message: 'secret' }, NO_RULE]
  ] as const) t.equal(rule('zod', issue), expected)
})

t.test('a rule is derived from the schema in the issues of Valibot', async t => {
  for (const [issue, expected] of [
    [{ type: 'number', expected: 'number' }, 'must be number'],
    [{ type: 'strict_object', expected: 'never' }, 'must be absent'],
    [{ type: 'iso_date_time', expected: null }, 'must be a valid iso date time'],
    [{ type: 'min_value', expected: '>=3' }, 'must be >=3'],
    [{ expected: 'secret' }, NO_RULE],
    ...['check', 'check_items', 'partial_check', 'custom', 'raw_check', 'raw_transform', 'transform']
      .map(type => [{ type, expected: 'secret' }, NO_RULE] as const)
  ] as const) t.equal(rule('valibot', issue), expected)
})

t.test('a rule is derived from the schema in the issues of ArkType', async t => {
  for (const code of [
    'domain', 'proto', 'unit', 'pattern', 'divisor', 'min', 'max', 'minLength', 'maxLength', 'exactLength', 'before', 'after', 'required'
  ]) t.equal(rule('arktype', { code, expected: 'so' }), 'must be so')
  t.equal(rule('arktype', { code: 'union', expected: 'secret' }), 'must match one of its alternatives')
  t.equal(rule('arktype', { code: 'min', expected: 5 }), NO_RULE)
  t.equal(rule('arktype', { code: 'predicate', expected: 'secret' }), NO_RULE)
})

t.test('no rule is derived from the issues of other libraries', async t => {
  const issue = { code: 'invalid_type', type: 'number', expected: 'secret' }
  for (const vendor of ['other', undefined]) t.equal(faultsOfIssues(vendor, [issue])[0]?.rule, NO_RULE)
})

t.test('an issue keeps its place, its message and its keyword', async t => {
  const fault = (issue: unknown, around?: string) => faultsOfIssues('zod', [issue], around)[0]
  t.strictSame(fault({ path: ['list', 0, 'a/b~'], code: 'invalid_type', expected: 'string', message: 'words' }), {
    instancePath: '/list/0/a~1b~0', message: 'words', rule: 'must be string', keyword: 'invalid_type'
  })
  t.strictSame(fault({ path: [{ key: 'a' }, { key: 0 }, { other: 1 }], type: 'number', message: 5 }), {
    instancePath: '/a/0/[object Object]', message: undefined, rule: NO_RULE, keyword: 'number'
  })
  const plain = { message: undefined, rule: NO_RULE }
  t.strictSame(fault({ path: new Set(['a', null, Symbol('s')]), code: 7 }, '/x'), { instancePath: '/x/a/null/Symbol(s)', ...plain })
  for (const path of [undefined, null, 'abc', 5, {}, true]) t.equal(fault({ path }, '/x')?.instancePath, '/x')
  for (const issue of [null, undefined, 'secret', 5]) t.strictSame(fault(issue), { instancePath: '', ...plain })
})

t.test('alternatives of a union come before it, each at its place', async t => {
  const inner = { path: ['b'], code: 'domain', expected: 'x' }
  const places = (vendor: string, issue: object) => faultsOfIssues(vendor, [issue]).map(({ instancePath }) => instancePath)
  t.strictSame(places('zod', { path: ['a'], errors: [[inner], [inner, inner]] }), ['/a/b', '/a/b', '/a/b', '/a'])
  t.strictSame(places('valibot', { path: ['a'], issues: [{ path: ['c'], issues: [inner] }] }), ['/a/c/b', '/a/c', '/a'])
  t.strictSame(places('arktype', { path: ['a'], errors: [{ path: ['a', 'b'] }] }), ['/a/b', '/a'], 'whose paths start at the root')
  t.strictSame(places('zod', { path: ['a'], errors: 'none', issues: [inner] }), ['/a'])
})

t.test('a compiled validator is called as by Fastify', async t => {
  const route = { schema: {}, method: 'POST', url: '/', httpPart: 'body' }
  const faults = [{ instancePath: '/a', message: 'no' }]
  const compile = (validator: unknown) => compiledValidator((() => validator) as never, route)
  const given: unknown[] = []
  const ajv = (result: unknown, more: object) => Object.assign((...parameters: unknown[]) => {
    given.push(...parameters)
    return result
  }, more)

  t.strictSame(compile(ajv(true, { schemaEnv: {} }))('x'), { value: 'x' })
  t.strictSame(given.splice(0), ['x', { parentData: { body: 'x' }, parentDataProperty: 'body' }], 'ajv needs a parent for coercions')
  t.strictSame(compile(ajv(undefined, {}))('x'), { value: 'x' })
  t.strictSame(given.splice(0), ['x'])
  t.strictSame(compile((_: unknown) => null)('x'), { value: 'x' })
  t.strictSame(compile(ajv(false, { errors: faults }))('x'), { faults })
  t.strictSame(compile(ajv(false, { errors: null }))('x'), { faults: [] })
  t.strictSame(compile(() => ({ value: undefined }))('x'), { value: undefined })
  t.strictSame(compile(() => ({ other: 1 }))('x'), { value: 'x' })
  t.strictSame(compile(() => ({ error: faults, value: 1 }))('x'), { faults, cause: faults })
  t.strictSame(compile(() => ({ error: { errors: faults } }))('x'), { faults, cause: { errors: faults } })
  const coerced = compile(Object.assign((_: unknown, { parentData }: { parentData: { body: unknown } }) => {
    parentData.body = 5
    return true
  }, { schemaEnv: {} }))
  t.strictSame(coerced('5'), { value: 5 })
  t.strictSame(await compile(async () => true)('x'), { value: 'x' })
  t.strictSame(await compile(ajv(Promise.resolve(false), { errors: faults }))('x'), { faults })
  const error = Object.assign(new Error('late'), { errors: faults })
  t.strictSame(await compile(async () => { throw error })('x'), { faults, cause: error })
  for (const broken of [[{ message: 'no place' }], [...faults, null], 'text', [faults]]) {
    t.strictSame(compile(() => ({ error: broken }))('x'), { faults: [], cause: broken })
  }
  t.strictSame(compile(() => { throw null })('x'), { faults: [], cause: null }) // eslint-disable-line no-throw-literal
  t.throws(() => compile(undefined), TypeError)
})

t.test('a Standard Schema validates with its own words', async t => {
  const validator = (validate: unknown, more: object = {}) =>
    standardValidator({ '~standard': { version: 1, vendor: 'zod', validate, ...more } } as never)
  const issue = { code: 'invalid_type', expected: 'x', path: ['a'] }
  const fault = { instancePath: '/a', message: undefined, rule: 'must be x', keyword: 'invalid_type' }
  t.strictSame(validator(() => ({ value: undefined }))('x'), { value: undefined })
  t.strictSame(await validator(async (value: unknown) => ({ value }))('x'), { value: 'x' })
  t.strictSame(validator(() => ({ issues: [issue], value: 1 }))('x'), { faults: [fault], cause: [issue] })
  t.strictSame(await validator(async () => ({ issues: [issue] }))('x'), { faults: [fault], cause: [issue] })
  t.strictSame(validator(() => ({ issues: new Set([issue]) }))('x'), { faults: [fault], cause: new Set([issue]) })
  t.strictSame(validator(() => ({ issues: 'text' }))('x'), { faults: [], cause: 'text' })
  t.strictSame(validator(() => ({ issues: {} }))('x'), { faults: [], cause: {} })
  const own = { version: 1, vendor: 'x', validate (this: unknown, value: unknown) { return { value: [this === own, value] } } }
  t.strictSame(standardValidator({ '~standard': own } as never)('x'), { value: [true, 'x'] }, 'as a method')

  const causeOf = async (validate: unknown): Promise<unknown> => {
    const { faults, cause } = await validator(validate)('x') as { faults: unknown, cause: { message: string } }
    t.strictSame(faults, [])
    return cause.message
  }
  for (const answer of [undefined, null, 5, 'text']) t.equal(await causeOf(() => answer), "its 'validate' returned no result")
  t.equal(await causeOf(async () => undefined), "its 'validate' returned no result")
  t.equal(await causeOf(() => ({})), "its 'validate' returned neither a value nor issues")
  t.equal(await causeOf(() => { throw new Error('boom') }), 'boom')
  t.equal(await causeOf(async () => { throw new Error('late') }), 'late')
  for (const standard of [null, {}, { version: 1 }]) {
    t.throws(() => standardValidator({ '~standard': standard } as never), { message: /has no function 'validate'$/ })
  }
  t.throws(() => validator(() => {}, { version: 2 }), { message: /^it uses version 2 of Standard Schema/ })
})
