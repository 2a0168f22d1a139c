import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { errors } from '../lib/index.js'

const root = join(import.meta.dirname, '..')
const readme = await readFile(join(root, 'README.md'), 'utf8')

t.test('the table of errors lists exactly the errors that exist, with their status', async t => {
  const listed = [...readme.matchAll(/^\| `(FST_TASKS_\w+)` \| (\d+) \|/gm)].map(match => `${match[1]} ${match[2]}`)
  const existing = Object.entries(errors).map(([name, FstError]) => {
    const error = new (FstError as new (...words: string[]) => { code: string, statusCode: number })('a', 'b', 'c')
    t.equal(error.code, name)
    return `${error.code} ${error.statusCode}`
  })
  t.strictSame(listed.sort(), existing.sort())
})

t.test('the tables of options list exactly the options that exist', async t => {
  const optionKeys = async (file: string, pattern: RegExp) => [...((await readFile(join(root, file), 'utf8')).match(pattern)?.[1] ?? '').matchAll(/'(\w+)'/g)].map(match => match[1])
  const column = (heading: string) => [...(readme.split(`## ${heading}`)[1]?.split(/^#/m)[0] ?? '').matchAll(/^\| (`[^|]*)\|/gm)]
    .flatMap(row => [...row[1]!.replace(/:.*$/, '').matchAll(/`(\w+)(?:\([^`]*\))?`/g)].map(match => match[1]))
  t.strictSame([...column('Options')].sort(), [...await optionKeys('lib/config.ts', /const KEYS = \[([^\]]+)\]/)].sort())
  t.strictSame([...column('`app.enqueue(name, payload, options?)`')].sort(), [...await optionKeys('lib/enqueue.ts', /const KEYS = \[([^\]]+)\]/)].sort())
  t.strictSame([...column('Task definitions')].sort(), [...await optionKeys('lib/registry.ts', /const KEYS = \[([^\]]+)\]/)].sort())
})

t.test('the quick start compiles as it stands', async t => {
  const source = readme.split('## Quick start')[1]?.match(/```ts\n([\s\S]*?)```/)?.[1] ?? ''
  t.ok(source.trim().split('\n').filter(line => line !== '').length <= 20, 'in 20 lines')
  const misspelt = source.replace("order: '42'", "oder: '42'")
  t.not(misspelt, source)
  const compile = compiler()
  t.same(compile(source), [])
  t.match(compile(misspelt), [/'oder' does not exist/], 'and a misspelt field does not')
})

/** Returns what says what the compiler has against a text that stands in a file of its own; all else is read once for all. */
function compiler (): (text: string) => string[] {
  const file = join(root, 'example', 'quick-start.ts')
  const { config } = ts.readConfigFile(join(root, 'example', 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, join(root, 'example'))
  const host = ts.createCompilerHost(options, true)
  const parsed = new Map<string, ts.SourceFile | undefined>()
  return text => {
    const program = ts.createProgram([file], options, {
      ...host,
      fileExists: path => path === file || host.fileExists(path),
      getSourceFile (path, version) {
        if (path === file) return ts.createSourceFile(path, text, version, true)
        if (!parsed.has(path)) parsed.set(path, host.getSourceFile(path, version))
        return parsed.get(path)
      }
    })
    const own = program.getSourceFile(file)!
    return [...program.getOptionsDiagnostics(), ...program.getSyntacticDiagnostics(own), ...program.getSemanticDiagnostics(own)]
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
  }
}
