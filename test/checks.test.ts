import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  anything, boolean, callable, checkOptions, instance, integer, isPlainObject, nearest, number, oneOf, option, readOptions, section,
  string, strings, text, type Declared, type Option
} from '../lib/checks.js'
import { compile, root } from './support/compiler.js'

interface Example {
  readonly name?: string
  readonly port?: number
  readonly mode?: 'fast' | 'slow'
  readonly tags?: string | readonly string[]
  readonly log?: { readonly quiet?: boolean, readonly file?: string }
}

const declared = {
  name: text({ variable: 'EXAMPLE_NAME', default: 'none' }),
  port: integer(0, 65_535),
  mode: oneOf(['fast', 'slow'], { variable: 'EXAMPLE_MODE' }),
  tags: strings(),
  log: section({ quiet: boolean({ default: false }), file: string({ variable: 'EXAMPLE_FILE' }) })
} satisfies Declared<Example>

const refuse = (problem: string) => new Error(problem)
const problemOf = (given: unknown, environment = {}): string | undefined => {
  try {
    readOptions(declared, given, { refuse, environment })
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

t.test('options are read with their defaults, and without a value where they have none', async t => {
  t.strictSame(readOptions(declared, {}, { refuse }), { name: 'none', log: { quiet: false } })
  t.strictSame(readOptions(declared, { name: 'a', port: 0, tags: 'x', log: { quiet: true } }, { refuse }),
    { name: 'a', port: 0, tags: ['x'], log: { quiet: true } })
})

t.test('an option wins over its variable, and that over the default; an empty variable counts as unset', async t => {
  const environment = { EXAMPLE_NAME: 'env', EXAMPLE_FILE: '/env', EXAMPLE_MODE: '' }
  t.strictSame(readOptions(declared, {}, { refuse, environment }), { name: 'env', log: { quiet: false, file: '/env' } })
  t.strictSame(readOptions(declared, { name: 'a', log: { file: '/a' } }, { refuse, environment }), {
    name: 'a',
    log: { quiet: false, file: '/a' }
  })
})

t.test('an invalid value is rejected under the name it was given by', async t => {
  t.equal(problemOf([]), 'the options must be an object')
  t.equal(problemOf({ nme: 'a' }), "unknown option 'nme'; did you mean 'name'?")
  t.equal(problemOf({ constructor: 1 }), "unknown option 'constructor'; valid options are 'name', 'port', 'mode', 'tags', 'log'")
  t.equal(problemOf({ name: '' }), "'name' must not be empty")
  t.equal(problemOf({ name: null }), "'name' must be a string")
  t.equal(problemOf({ port: 1.5 }), "'port' must be a whole number from 0 to 65535")
  t.equal(problemOf({ port: NaN }), "'port' must be a whole number from 0 to 65535")
  t.equal(problemOf({ mode: 'fats' }), "'mode' must be 'fast' or 'slow'; did you mean 'fast'?")
  t.equal(problemOf({}, { EXAMPLE_MODE: 'slwo' }), "EXAMPLE_MODE must be 'fast' or 'slow'; did you mean 'slow'?")
  t.equal(problemOf({ tags: [] }), "'tags' must be a string or a list of strings")
  t.equal(problemOf({ log: true }), "'log' must be an object")
  t.equal(problemOf({ log: { quiet: 1 } }), "'log.quiet' must be true or false")
  t.equal(problemOf({ log: { quite: true } }), "'log': unknown option 'quite'; did you mean 'quiet'?")
})

t.test('an option inside of another is named by its path, or as the reader of the options names it', async t => {
  const inner = { file: text() }
  t.strictSame(readOptions(inner, { file: 'a' }, { refuse }, 'log'), { file: 'a' })
  const nameOf = (path: string) => `--${path}`
  for (const [given, reading, message] of [
    [5, { refuse }, "'log' must be an object"],
    [{ file: 5 }, { refuse }, "'log.file' must be a string"],
    [{ fiel: 5 }, { refuse }, "'log': unknown option 'fiel'; did you mean 'file'?"],
    [5, { refuse, nameOf }, '--log must be an object'],
    [{ file: 5 }, { refuse, nameOf }, '--log.file must be a string'],
    [{ fiel: 5 }, { refuse, nameOf }, "--log: unknown option 'fiel'; did you mean 'file'?"]
  ] as const) t.throws(() => readOptions(inner, given, reading, 'log'), { message })
})

t.test('a check accepts its kind of value only, and numbers at their limits', async t => {
  class Client { close (): void {} }
  const long = (values: readonly string[]) => strings({ valid: value => value.length > 1, must: 'must be long' }).read(values, 'a', { refuse })
  for (const [one, accepted, rejected, message] of [
    [anything(), [null, 0, '', {}], [], ''],
    [text(), ['a'], [5, null], "'a' must be a string"],
    [text(), [], [''], "'a' must not be empty"],
    [string(), ['', 'a'], [5, null, {}], "'a' must be a string"],
    [string({ valid: value => value === 'x', must: 'must be x' }), ['x'], ['y', 5], "'a' must be x"],
    [boolean(), [true, false], [0, 'true', null], "'a' must be true or false"],
    [number(-1, 2.5), [-1, 0, 2.5], [-1.1, 2.6, NaN, '1', null, [1]], "'a' must be a number from -1 to 2.5"],
    [integer(-1, 3), [-1, 0, 3], [-2, 4, 0.5, NaN, '1', null], "'a' must be a whole number from -1 to 3"],
    [oneOf(['on', 'off']), ['on', 'off'], [5, null, ['on']], "'a' must be 'on' or 'off'"],
    [callable(), [() => {}, Client], [{}, null, 'x'], "'a' must be a function"],
    [instance<Client>('close'), [new Client(), { close: () => {} }], [null, {}, { close: 1 }, Object.assign(() => {}, { close: () => {} }), 'x'], "'a' must be an object with the method close"],
    [strings(), [['a', 'b']], [[], '', [''], ['a', 5], 5, null], "'a' must be a string or a list of strings"],
    [option(value => value === 1 ? undefined : 'must be one'), [1], [2, null], "'a' must be one"]
  ] as ReadonlyArray<readonly [Option<unknown>, readonly unknown[], readonly unknown[], string]>) {
    for (const value of accepted) t.equal(one.read(value, 'a', { refuse }), value)
    for (const value of rejected) t.throws(() => one.read(value, 'a', { refuse }), { message })
    t.equal(one.read(undefined, 'a', { refuse }), undefined)
  }
  t.strictSame(strings().read('a', 'a', { refuse }), ['a'])
  t.strictSame(long(['ab', 'cd']), ['ab', 'cd'])
  t.throws(() => long(['ab', 'c']), { message: "'a' must be long" })
})

t.test('a declaration shows its default and variable, and replaces only a value that is not given', async t => {
  const declarations = [[text({ default: 'x', variable: 'X' }), 'x'], [strings({ default: ['x'], variable: 'X' }), ['x']]] as const
  for (const [one, initial] of declarations) {
    t.strictSame([one.default, one.variable], [initial, 'X'])
    t.strictSame(one.read(undefined, 'a', { refuse }), one.default)
    t.throws(() => one.read(null, 'a', { refuse, environment: { X: 'y' } }), { message: /^'a' must be a string/ })
  }
  t.strictSame(strings({ variable: 'X' }).read(undefined, 'a', { refuse, environment: { X: 'y' } }), ['y'])
  t.strictSame(Object.keys(section({ b: text() }).options ?? {}), ['b'])
  t.strictSame(section({ b: text({ default: 'x' }) }).read(undefined, 'a', { refuse }), { b: 'x' })
})

t.test('a plain object has no class', async t => {
  class Options {}
  for (const value of [{}, { a: 1 }, Object.create(null), JSON.parse('{}')]) t.equal(isPlainObject(value), true)
  for (const value of [null, undefined, 'x', 5, [], new Options(), new Date(), Object.create({}), () => {}]) {
    t.equal(isPlainObject(value), false)
  }
})

t.test('a similar name is suggested: two letters may differ, or a third of a long name', async t => {
  const name = 'scheduleTime'
  t.equal(nearest('shceduleTime', [name, 'queue']), "; did you mean 'scheduleTime'?")
  t.equal(nearest('SCHEDULETIME', ['id', name]), "; did you mean 'scheduleTime'?")
  t.equal(nearest('xxxxduleTime', [name]), "; did you mean 'scheduleTime'?", 'four of twelve')
  t.equal(nearest('xxxxxuleTime', [name]), '', 'five of twelve')
  t.equal(nearest('xxe', ['ide']), "; did you mean 'ide'?", 'two of three')
  t.equal(nearest('xxx', ['ide']), '')
  t.equal(nearest('x', []), '')
  t.equal(nearest('x'.repeat(200), ['x'.repeat(200)]), `; did you mean '${'x'.repeat(200)}'?`)
  t.equal(nearest('x'.repeat(201), ['x'.repeat(201)]), '')
})

t.test('what is only checked gets no default, and is rejected alike', async t => {
  t.doesNotThrow(() => checkOptions(declared, { name: 'a', port: undefined }, { refuse }))
  t.throws(() => checkOptions(declared, { log: { file: 5 } }, { refuse }), { message: "'log.file' must be a string" })
  t.throws(() => checkOptions(declared, { toString: 5 }, { refuse }), { message: /^unknown option 'toString'/ })
  t.throws(() => checkOptions({ rate: number(0.1, 5) }, { rate: 6 }, { refuse }), { message: "'rate' must be a number from 0.1 to 5" })
})

t.test('a key without a declaration, one too many, and a check for another type do not compile', async t => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'fastify-cloud-tasks-checks-')))
  t.teardown(() => rm(folder, { recursive: true }))
  const imports = `import { number, string, type Declared } from '${join(root, 'lib/checks.ts')}'\ninterface Options { readonly name?: string, readonly port?: number }\n`
  const files = {
    'whole.ts': '({ name: string(), port: number(0, 1) }) satisfies Declared<Options>',
    'forgotten.ts': '({ name: string() }) satisfies Declared<Options>',
    'unknown.ts': '({ name: string(), port: number(0, 1), prot: string() }) satisfies Declared<Options>',
    'mistyped.ts': '({ name: string(), port: string() }) satisfies Declared<Options>'
  }
  for (const [file, line] of Object.entries(files)) await writeFile(join(folder, file), `${imports}export const declared = ${line}\n`)
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { rootDir: '/', typeRoots: [join(root, 'node_modules/@types')], allowImportingTsExtensions: true },
    include: ['.'],
    exclude: []
  }))
  const complaints = await compile(folder)
  t.strictSame(complaints.map(({ file }) => file).sort(), ['forgotten.ts', 'mistyped.ts', 'unknown.ts'])
  t.ok(complaints.find(({ file }) => file === 'forgotten.ts')?.message.includes("'port' is missing"), JSON.stringify(complaints))
})
