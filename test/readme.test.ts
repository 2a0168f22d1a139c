import { mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { errors } from '../lib/index.js'
import { compile, root, type Complaint } from './support/compiler.js'

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
  t.strictSame([...column('Options')].sort(), [...await optionKeys('lib/options/config.ts', /const KEYS = \[([^\]]+)\]/)].sort())
  t.strictSame([...column('`app.enqueue(name, payload, options?)`')].sort(), [...await optionKeys('lib/enqueue.ts', /const KEYS = \[([^\]]+)\]/)].sort())
  t.strictSame([...column('Task definitions')].sort(), [...await optionKeys('lib/registry/registry.ts', /const KEYS = \[([^\]]+)\]/)].sort())
})

t.test('the quick start compiles as it stands', async t => {
  const source = readme.split('## Quick start')[1]?.match(/```ts\n([\s\S]*?)```/)?.[1] ?? ''
  t.ok(source.trim().split('\n').filter(line => line !== '').length <= 20, 'in 20 lines')
  const misspelt = source.replace("order: '42'", "oder: '42'")
  t.not(misspelt, source)
  t.match(await faults({ 'right.ts': source, 'misspelt.ts': misspelt }), [{ file: 'misspelt.ts', message: /'oder' does not exist/ }], 'and a misspelt field does not')
})

/** What the compiler has against texts that each stand in a file of their own in an app. */
async function faults (texts: Readonly<Record<string, string>>): Promise<Complaint[]> {
  const app = await realpath(await mkdtemp(join(tmpdir(), 'fastify-cloud-tasks-readme-')))
  try {
    await symlink(join(root, 'node_modules'), join(app, 'node_modules'))
    await writeFile(join(app, 'package.json'), '{ "type": "module" }')
    await writeFile(join(app, 'tsconfig.json'), JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: { rootDir: '/', paths: { 'fastify-cloud-tasks': [join(root, 'lib/index.ts')] } },
      include: ['.'],
      exclude: []
    }))
    for (const [file, text] of Object.entries(texts)) await writeFile(join(app, file), text)
    return await compile(app)
  } finally {
    await rm(app, { recursive: true })
  }
}
