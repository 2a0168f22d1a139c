import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  boolean, checkOptions, integer, number, oneOf, readOptions, section, string, strings, text, type Declared
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

t.test('an option wins over its variable, a variable over the default, and an empty variable counts as unset', async t => {
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
