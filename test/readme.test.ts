import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
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
  const folder = await mkdtemp(join(root, '.tap', 'readme-'))
  t.teardown(async () => { await rm(folder, { recursive: true }) })
  await writeFile(join(folder, 'quick-start.ts'), source)
  const misspelt = source.replace("order: '42'", "oder: '42'")
  t.not(misspelt, source)
  const compile = async (): Promise<string> => {
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({
      extends: '../../tsconfig.json',
      compilerOptions: { rootDir: '../..', paths: { 'fastify-cloud-tasks': ['../../lib/index.ts'] } },
      include: ['quick-start.ts']
    }))
    return await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]).then(() => '', (error: { stdout: string }) => error.stdout)
  }
  t.equal(await compile(), '')
  await writeFile(join(folder, 'quick-start.ts'), misspelt)
  t.match(await compile(), /'oder' does not exist/, 'and a misspelt field does not')
})
