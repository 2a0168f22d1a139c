import { readFile, readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import type { Declaration, Option } from '../lib/checks.js'
import { commands } from '../lib/cli/program.js'
import { systemClock } from '../lib/clock/clock.js'
import { consoleOptions } from '../lib/console/options.js'
import { emulatorOptions } from '../lib/emulator/options.js'
import { enqueueOptions } from '../lib/enqueue-options.js'
import { pluginOptions } from '../lib/options/options.js'
import { definitionOptions } from '../lib/registry/registry.js'
import { root } from './support/compiler.js'

const readme = await readFile(join(root, 'README.md'), 'utf8')

const pageOf = async (name: string): Promise<string> => await readFile(join(root, 'docs', name), 'utf8')
const optionsPage = await pageOf('options.md')

/** First column of the table below a heading, and the others by what it holds: a row may describe several keys. */
function rowsOf (page: string, heading: string): Array<{ readonly keys: string[], readonly cells: string[] }> {
  const section = page.split(`# ${heading}\n`)[1]?.split(/^#/m)[0] ?? ''
  return [...section.matchAll(/^\|\s*(`.*)\|$/gm)].map(row => {
    const [first, ...cells] = row[1]!.split('|').map(cell => cell.trim())
    const keys = first!.replace(/:.*$/, '').matchAll(/`(\w+)(?:\([^`]*\))?`/g)
    return { keys: [...keys].map(match => match[1]!), cells: [first!, ...cells] }
  })
}

t.test('the tables of options list exactly the options that are declared', async t => {
  const tables: Array<[page: string, heading: string, declared: Declaration]> = [
    ['options.md', 'Options', pluginOptions],
    ['tasks.md', '`app.enqueue(name, payload, options?)`', enqueueOptions('http', systemClock)],
    ['tasks.md', 'Task definitions', definitionOptions],
    ['console.md', 'Options', consoleOptions]
  ]
  for (const [page, heading, declared] of tables) {
    t.strictSame(rowsOf(await pageOf(page), heading).flatMap(row => row.keys).sort(), Object.keys(declared).sort(), heading)
  }
})

t.test('the table of options has the default and the environment variables that are declared', async t => {
  const variablesOf = (option: Option<unknown>): string[] => {
    return [option.variable, ...Object.values(option.options ?? {}).flatMap(variablesOf)].filter(name => name !== undefined)
  }
  const found = new Set<string>()
  for (const { keys, cells: [, variables, initial] } of rowsOf(optionsPage, 'Options')) {
    const options = keys.map(key => pluginOptions[key as keyof typeof pluginOptions] as Option<unknown>)
    const named = [...variables!.matchAll(/`(\w+)`/g)].map(match => match[1])
    t.strictSame(named.sort(), options.flatMap(variablesOf).sort(), `${keys} is set by ${variables || 'no variable'}`)
    for (const option of options) {
      if (option.default === undefined) continue
      found.add(keys[0]!)
      t.equal(initial!.replaceAll('`', ''), String(option.default), `${keys} is ${initial}`)
    }
  }
  t.ok(found.has('prefix') && found.has('sendTimeoutSeconds') && found.has('invalidPayload'))
})

t.test('the keys of options that are objects are those that are declared', async t => {
  const listed = (key: string): string[] => {
    const row = rowsOf(optionsPage, 'Options').find(({ keys }) => keys.includes(key))!.cells[0]!
    return [
      ...new Set([...row.matchAll(/\{ ([^}]*) \}/g)].flatMap(match => match[1]!.split(',').map(name => name.replace(/:.*$/, '').trim())))
    ]
  }
  for (const key of ['target', 'local', 'auth'] as const) {
    t.strictSame(listed(key).sort(), Object.keys(pluginOptions[key].options!).sort(), key)
  }
  const { rateLimits, retryConfig } = pluginOptions.queues.options!
  const prose = optionsPage.split('`queues` uses the names')[1]!.split('\n\n')[0]!
  const settings = [...prose.matchAll(/(max\w+|min\w+)`\s\(/g)].map(match => match[1])
  t.strictSame(settings.sort(), [...Object.keys(rateLimits!.options!), ...Object.keys(retryConfig!.options!)].sort(), 'queues')
})

t.test('the tables of a handler\'s context and of app.tasks list exactly what these have', async t => {
  const page = await pageOf('tasks.md')
  const context = rowsOf(page, 'Handlers').flatMap(row => [...row.cells[0]!.matchAll(/`(\w+)/g)].map(match => match[1]!))
  t.strictSame(context.toSorted(), await membersOf('registry/definitions.ts', 'TaskContext'))
  const calls = rowsOf(page, '`app.tasks`').flatMap(row => [...row.cells[0]!.matchAll(/`(\w+)/g)].map(match => match[1]!))
  t.strictSame(calls.toSorted(), await membersOf('tasks.ts', 'Tasks'))
})

t.test('the table of commands lists exactly the flags of each', async t => {
  const page = await pageOf('command-line.md')
  for (const [name, { load }] of Object.entries(commands)) {
    const rows = [...page.matchAll(/^\| (.*) \| .* \| (.*) \|$/gm)].filter(([, command]) => command!.startsWith(`\`${name}`))
    t.equal(rows.length, 1, name)
    if (name === 'emulator') continue // It has a page and a test of its own.
    const flags = [...rows[0]![2]!.matchAll(/`--([\w-]+)`/g)].map(match => match[1])
    t.strictSame(flags.toSorted(), Object.keys((await load()).default.options).toSorted(), name)
  }
})

t.test('the docstring of an option names the default and the variable that are declared', async t => {
  const declared: Array<[file: string, name: string, options: Declaration]> = [
    ['options/options.ts', 'CloudTasksOptions', pluginOptions],
    ['options/options.ts', 'LocalOptions', pluginOptions.local.options!],
    ['options/target.ts', 'HttpTarget', pluginOptions.target.options!],
    ['options/auth.ts', 'AuthOptions', pluginOptions.auth.options!],
    ['registry/definitions.ts', 'TaskDefinition', definitionOptions],
    ['console/options.ts', 'ConsoleOptions', consoleOptions],
    ['emulator/options.ts', 'EmulatorOptions', emulatorOptions]
  ]
  for (const [file, name, options] of declared) {
    const docs = await docstrings(file, name)
    for (const [key, doc] of docs) {
      const { variable, default: initial } = options[key]!
      if (variable !== undefined) t.ok(doc.includes(`Environment: \`${variable}\``), `${name}.${key}: ${variable}`)
      if (typeof initial !== 'object' && typeof initial !== 'function' && initial !== undefined) {
        const [, documented] = /@default (\S+)/.exec(doc) ?? []
        t.equal(documented?.replace(/^'|'?,?$/g, ''), String(initial), `${name}.${key} is ${initial}`)
      }
    }
    t.ok(docs.size > 0, name)
  }
})

/** The docstring of each property of an interface in lib/. */
async function docstrings (file: string, name: string): Promise<Map<string, string>> {
  const found = await interfaceOf(file, name)
  return new Map(found.members.filter(ts.isPropertySignature).map(member => {
    return [(member.name as ts.Identifier).text, ts.getJSDocCommentsAndTags(member).map(doc => doc.getText()).join('\n')]
  }))
}

/** The names of the members of an interface in lib/, in alphabetical order. */
async function membersOf (file: string, name: string): Promise<string[]> {
  return (await interfaceOf(file, name)).members.map(member => (member.name as ts.Identifier).text).toSorted()
}

async function interfaceOf (file: string, name: string): Promise<ts.InterfaceDeclaration> {
  const source = ts.createSourceFile(file, await readFile(join(root, 'lib', file), 'utf8'), ts.ScriptTarget.Latest, true)
  return source.statements.find(node => ts.isInterfaceDeclaration(node) && node.name.text === name) as ts.InterfaceDeclaration
}

t.test('the commands at the top say that they are for a clone, and the package names its repository and where to report bugs', async t => {
  const [top = ''] = readme.split('## Quick start')
  t.match(top, /In a clone of .*:\n\n```sh\nnpm ci && npm run example .*\nnpm ci && npm test .*\n```/)
  const { repository, bugs, homepage, author } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Record<string, any>
  t.equal(repository.url, 'git+https://github.com/fastify-cloud-tasks/fastify-cloud-tasks.git')
  t.equal(bugs.url, 'https://github.com/fastify-cloud-tasks/fastify-cloud-tasks/issues')
  t.equal(homepage, 'https://github.com/fastify-cloud-tasks/fastify-cloud-tasks#readme')
  t.equal(author, 'fastify-cloud-tasks contributors')
})

t.test('the badges and the table of compatibility name the versions that the package and its workflow have', async t => {
  const { engines, license, peerDependencies, dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const [, node] = /^>=(\d+\.\d+)\.0$/.exec(engines.node)!
  const [, fastify] = /^\^(5\.\d+)\.0$/.exec(peerDependencies.fastify)!
  const [, , six, seven] = /^(\^(6\.\d+)\.0) \|\| \^(7\.\d+)\.0$/.exec(dependencies['@google-cloud/tasks'])!
  const [, otel] = /^\^(1\.\d+)\.0$/.exec(peerDependencies['@opentelemetry/api'])!
  const workflow = await readFile(join(root, '.github/workflows/ci.yml'), 'utf8')
  const [, tested] = /node: \[(.*)\]/.exec(workflow)!
  for (const text of [
    `Node.js-%E2%89%A5%20${node}-`,
    'Fastify-5-',
    `licence-${license}-`,
    `| Node.js | ${node} and newer; tested with ${tested!.replace(/, (\d+)$/, ' and $1')} |`,
    `| Fastify | ${fastify} and newer 5.x |`,
    `${six} and newer 6.x, ${seven} and newer 7.x |`,
    `\`@opentelemetry/api\` ${otel} and newer 1.x |`
  ]) t.ok(readme.includes(text), text)
})

t.test('the figures beside other queues are those that were measured last', async t => {
  const svg = await readFile(join(root, 'test/bench/peers/figures.svg'), 'utf8')
  const texts = [...svg.matchAll(/>([^<>]*\S[^<>]*)</g)].map(match => match[1]!.trim())
  const rows: Array<[row: string, measure: string]> = [
    ['jobs/s, added by 64 callers', 'add, 64 waiting, jobs/s'],
    ['jobs/s, added by one', 'add, one waiting, jobs/s'],
    ['jobs/s, from add to handler done', 'add to handler done, 64 at a time, jobs/s'],
    ['idle, from add to handler start', 'idle, add to handler start, p50 in ms']
  ]
  for (const [row, measure] of rows) {
    const from = texts.indexOf(measure)
    t.not(from, -1, measure)
    const figures = ['fastify-cloud-tasks', 'BullMQ, Redis fsync always', 'pg-boss', 'graphile-worker'].map(name => {
      const value = texts[texts.indexOf(name, from) + 1]!
      const figure = Number.parseFloat(value.replaceAll(',', ''))
      return value.endsWith('/s') ? `${(figure / 1000).toFixed(1)}k` : `${figure.toFixed(figure < 100 ? 1 : 0)} ms`
    })
    const cells = readme.split(`| ${row} |`)[1]!.split('\n')[0]!.split('|').map(cell => cell.replace(/\(.*\)/, '').trim())
    t.strictSame(cells.filter(cell => cell !== ''), figures, row)
  }
})

t.test('nothing that is installed for this package wants a newer Node.js than it does, except what Fastify itself brings', async t => {
  const { satisfies } = createRequire(import.meta.url)('semver') as { satisfies: (version: string, range: string) => boolean }
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { engines?: { node?: string }, optional?: boolean }>
  }
  for (const version of ['20.19.0', '22.21.0', '24.0.0']) {
    const refused = Object.entries(packages)
      .filter(([, { engines, optional }]) => optional !== true && engines?.node !== undefined && !satisfies(version, engines.node))
      .map(([path]) => path)
    t.strictSame(refused, version.startsWith('20') ? ['node_modules/cookie'] : [], `Node.js ${version}`)
  }
})

t.test('the files that the pages for contributors name exist', async t => {
  const folders = ['lib', 'test', 'docs', 'example', '.ci']
  const below = await Promise.all(
    folders.map(async folder => (await readdir(join(root, folder), { recursive: true })).map(file => `${folder}/${file}`))
  )
  const files = new Set([...folders, ...below.flat(), ...await readdir(root)])
  const exists = (name: string) => files.has(name) || [...files].some(file => file.endsWith(`/${name}`))
  for (const page of ['docs/internals.md', 'CONTRIBUTING.md']) {
    const text = await readFile(join(root, page), 'utf8')
    const named = [...text.matchAll(/`((?:[\w.-]+\/)*(?:[\w-]+\.(?:ts|js|md)|[\w-]+\/))`/g)].map(match => match[1]!.replace(/\/$/, ''))
    t.ok(named.length > 10, page)
    // A name without a folder is in the folder that the sentence is about.
    t.strictSame(named.filter(name => !exists(name)), [], page)
  }
})
