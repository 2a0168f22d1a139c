import { readFileSync, readdirSync } from 'node:fs'
import { join, posix, resolve, sep } from 'node:path'
import t from 'tap'
import ts from 'typescript'

const root = resolve(import.meta.dirname, '..')

/** What every room may import. */
const base = ['cloud-tasks', 'clock', 'errors', 'server-error', 'events', 'checks', 'options', 'registry', 'delivery', 'fastify-internals']

/**
 * What each room of lib/ may import in addition to itself. A room is a file or a folder; the longest name that fits a file decides.
 * 'type x': only types of x, which leave nothing to load.
 */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'cloud-tasks': [],
  clock: [],
  errors: ['server-error'],
  'server-error': [],
  events: [],
  checks: [],
  delivery: ['events'],
  'fastify-internals': [],
  'browser-guard': [],
  registry: ['cloud-tasks', 'type clock', 'errors', 'checks', 'delivery', 'fastify-internals'],
  options: ['cloud-tasks', 'errors', 'checks', 'delivery', 'type registry'],

  store: ['cloud-tasks', 'clock'],
  engine: ['cloud-tasks', 'clock', 'store'],
  'transport/transport': ['cloud-tasks'],
  'transport/new-task': [...base, 'transport/transport'],
  'transport/local-inspection': [...base, 'type engine', 'transport/local', 'type transport/transport'],
  'transport/local': [...base, 'engine', 'store', 'transport/transport', 'transport/new-task', 'transport/local-inspection'],
  'transport/switchable-transport': ['transport/transport', 'type transport/local'],
  transport: [...base, 'transport/transport', 'transport/new-task'],
  copies: [...base, 'type transport/transport'],
  'dead-letters': [...base, 'copies', 'type transport/transport'],
  worker: [...base, 'type transport/transport', 'copies'],
  'enqueue-options': ['cloud-tasks', 'type clock', 'checks', 'delivery'],
  enqueue: [...base, 'enqueue-options', 'transport/transport', 'copies'],
  'enqueue-many': [...base, 'type enqueue', 'type enqueue-options', 'type transport/transport'],
  tasks: [...base, 'type dead-letters', 'enqueue', 'enqueue-many', 'type enqueue-options', 'transport/transport', 'worker'],
  otel: [...base],
  'plugin-handle': [...base, 'type engine', 'type worker', 'type transport/switchable-transport'],
  console: [...base, 'browser-guard', 'copies', 'type dead-letters', 'enqueue', 'type enqueue-options', 'engine', 'plugin-handle', 'type worker'],
  emulator: [...base, 'browser-guard', 'engine', 'store'],
  plugin: [...base, 'enqueue', 'tasks', 'engine', 'transport', 'transport/local', 'transport/transport', 'transport/switchable-transport',
    'transport/new-task', 'copies', 'dead-letters', 'worker', 'plugin-handle'],
  testing: [...base, 'enqueue', 'enqueue-options', 'engine', 'plugin-handle', 'transport/local', 'type worker'],
  cli: [...base, 'browser-guard', 'type dead-letters', 'type enqueue-options', 'tasks', 'plugin-handle', 'transport', 'emulator', 'console', 'plugin'],
  index: ['errors', 'events', 'copies', 'dead-letters', 'options', 'registry', 'enqueue', 'type enqueue-many', 'type enqueue-options', 'tasks', 'plugin']
}

/** Packages that cost time and memory, or that not every app needs: loaded on demand, so statically only where named. */
const heavy = ['@google-cloud/tasks', 'google-gax', '@grpc/grpc-js', '@grpc/proto-loader', 'jose', 'lmdb']
const mayLoadHeavy = ['transport/cloud/', 'worker/auth/', 'store/lmdb/', 'emulator/']

/** The engine and the store run in the emulator too, and Cloud Tasks' vocabulary everywhere. */
const packagesOf: Readonly<Record<string, readonly string[]>> = { 'cloud-tasks': [], clock: [], engine: [], store: ['lmdb'] }

interface Import {
  readonly from: string
  /** A file of lib/, or a package. */
  readonly to: string
  readonly local: boolean
  readonly kind: 'static' | 'type' | 'dynamic'
}

/** Text of each file, by its path in lib/. */
type Sources = ReadonlyMap<string, string>

const lib = resolve(import.meta.dirname, '../lib')
const sources: Sources = new Map(readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.ts'))
  .map(path => [path.split(sep).join('/'), readFileSync(join(lib, path), 'utf8')]))

t.test('every file of lib/ imports in the allowed directions only', async t => {
  t.ok(sources.has('index.ts'))
  t.ok(importsOf('plugin.ts', sources.get('plugin.ts')!).length > 5, 'imports are found')
  t.same(complaints(sources), [])
})

t.test('importing the package loads no heavy package', async t => {
  t.same(heavyLoads(sources), [])
})

t.test("only one file compares the transport with 'cloud' or 'local'", async t => {
  const comparing = [...sources].filter(([, text]) => /[!=]==? '(?:cloud|local)'|case '(?:cloud|local)'/.test(text)).map(([path]) => path)
  t.strictSame(comparing, ['options/transports.ts'])
})

t.test('no imports go in a circle, between files or between rooms', async t => {
  const page: Sources = new Map(readdirSync(join(lib, 'console/assets'), { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.js'))
    .map(path => [path.split(sep).join('/'), readFileSync(join(lib, 'console/assets', path), 'utf8')]))
  t.ok(page.size > 40)
  t.same(circle(fileGraph(page)), [])
  t.same(circle(fileGraph(sources)), [])
  t.same(circle(roomGraph(sources)), [])
  t.strictSame(
    circle(
      fileGraph(
        new Map([
          ['a.ts', "import './b.js'"],
          ['b.ts', "export type { X } from './c.js'"],
          ['c.ts', "import { x } from './b.js'"]
        ])
      )
    ),
    ['b.ts', 'c.ts', 'b.ts']
  )
})

t.test('a bad import is found', async t => {
  const bad: Array<[path: string, text: string]> = [
    ['cloud-tasks/bad.ts', "import { x } from '../errors.js'"],
    ['cloud-tasks/bad.ts', "import type { X } from '../engine/engine.js'"],
    ['cloud-tasks/bad.ts', "import { x } from 'fastify'"],
    ['engine/bad.ts', "import { x } from '../checks.js'"],
    ['engine/bad.ts', "export { x } from '../transport/transport.js'"],
    ['engine/bad.ts', "import type { FastifyInstance } from 'fastify'"],
    ['engine/bad.ts', "import * as lmdb from 'lmdb'"],
    ['transport/local.ts', "import { x } from './cloud/cloud.js'"],
    ['transport/cloud/cloud.ts', "const x = await import('../local.js')"],
    ['worker/bad.ts', "import { x } from '../transport/transport.js'"],
    ['worker/bad.ts', "import { x } from '../enqueue.js'"],
    ['worker/bad.ts', "import { type JWTPayload } from 'jose'"],
    ['enqueue.ts', "import { x } from './transport/local.js'"],
    ['registry/payload.ts', "import { x } from '../worker/route.js'"],
    ['store/bad.ts', "import { x } from '../engine/engine.js'"],
    ['emulator/server.ts', "import { x } from '../worker/run.js'"],
    ['plugin.ts', "import { x } from './index.js'"],
    ['cli/main.ts', "import { x } from '../plugin.js'; import { y } from '../index.js'"],
    ['plugin.ts', "import { x } from './emulator/server.js'"],
    ['plugin.ts', "import x from '@google-cloud/tasks'"],
    ['plugin.ts', "import { x } from './support/app.js'"],
    ['plugin.ts', "let x: import('./testing.js').X"],
    ['newcomer/file.ts', 'export const x = 1'],
    ['newcomer.ts', 'export const x = 1']
  ]
  for (const [path, text] of bad) {
    const found = complaints(new Map([[path, text]]))
    t.equal(found.length, 1, `${path}: ${text}`)
    t.match(found[0], path)
  }
  t.same(heavyLoads(new Map([
    ['index.ts', "export { x } from './plugin.js'"],
    ['plugin.ts', "import { x } from './transport/cloud/cloud.js'; const y = await import('./worker/auth/oidc.js')"],
    ['transport/cloud/cloud.ts', "import { CloudTasksClient } from '@google-cloud/tasks'"],
    ['worker/auth/oidc.ts', "import { jwtVerify } from 'jose'"]
  ])), ['transport/cloud/cloud.ts -> @google-cloud/tasks'])
})

t.test('a good import is not', async t => {
  const good: Array<[path: string, text: string]> = [
    ['engine/good.ts', "import { x } from '../cloud-tasks/task.js'; import { y } from '../store/store.js'; import z from 'node:fs'"],
    ['options/options.ts', "import type { X } from '../registry/registry.js'"],
    ['plugin.ts', "const { x } = await import('./transport/cloud/cloud.js'); const y = await import('@google-cloud/tasks')"],
    ['options/options.ts', "import type { CloudTasksClient } from '@google-cloud/tasks'"],
    ['cli/main.ts', "const app = await import(name); import { x } from './run.js'; import { y } from '../emulator/server.js'"]
  ]
  for (const [path, text] of good) t.same(complaints(new Map([[path, text]])), [], `${path}: ${text}`)
})

function complaints (sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) => {
    const part = roomOf(path)
    if (part === undefined) return [`${path}: no rule says what it may import`]
    return importsOf(path, text)
      .filter(one => one.local ? !allowed(part, one) : !packageAllowed(part, one))
      .map(({ to, kind }) => `${path}: ${kind} import of ${to}`)
  })
}

function allowed (part: string, { to, kind }: Import): boolean {
  const target = roomOf(to)
  if (target === undefined) return false
  const rule = mayImport[part]!
  return target === part || rule.includes(target) || (kind === 'type' && rule.includes(`type ${target}`))
}

function packageAllowed (part: string, { from, to, kind }: Import): boolean {
  if (packagesOf[part]?.includes(to) === false) return false
  return kind !== 'static' || !heavy.includes(to) || mayLoadHeavy.some(place => from.startsWith(place))
}

/** The heavy packages that load along with index.ts, each with the file that imports it. */
function heavyLoads (sources: Sources): string[] {
  const reached = new Set(['index.ts'])
  const loads: string[] = []
  for (const path of reached) { // Grows while it is gone through.
    for (const { to, local, kind } of importsOf(path, sources.get(path) ?? '')) {
      if (kind !== 'static') continue
      if (local) reached.add(to)
      else if (heavy.includes(to)) loads.push(`${path} -> ${to}`)
    }
  }
  return loads
}

function fileGraph (sources: Sources, kinds: ReadonlyArray<Import['kind']> = ['static', 'type', 'dynamic']): Map<string, Set<string>> {
  return new Map([...sources].map(([path, text]) => {
    return [path, new Set(importsOf(path, text).filter(one => one.local && kinds.includes(one.kind)).map(one => one.to))]
  }))
}

function roomGraph (sources: Sources): Map<string, Set<string>> {
  const graph = new Map<string, Set<string>>()
  const folder = (path: string): string => posix.dirname(path) === '.' ? path : posix.dirname(path)
  // The command line loads its commands by their names, which build on it.
  for (const [path, files] of fileGraph(sources, ['static', 'type'])) {
    const room = folder(path)
    const rooms = graph.get(room) ?? new Set()
    graph.set(room, rooms)
    for (const file of files) if (folder(file) !== room) rooms.add(folder(file))
  }
  return graph
}

/** The first circle that is found, as the path around it. */
function circle (graph: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const done = new Set<string>()
  const path: string[] = []
  const visit = (node: string): string[] => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node]
    if (done.has(node)) return []
    path.push(node)
    for (const next of graph.get(node) ?? []) {
      const found = visit(next)
      if (found.length > 0) return found
    }
    path.pop()
    done.add(node)
    return []
  }
  for (const node of graph.keys()) {
    const found = visit(node)
    if (found.length > 0) return found
  }
  return []
}

function roomOf (path: string): string | undefined {
  return Object.keys(mayImport)
    .filter(part => path === `${part}.ts` || path.startsWith(`${part}/`))
    .sort((a, b) => b.length - a.length)[0]
}

/** Imports of Node.js' own modules are left out. */
function importsOf (from: string, text: string): Import[] {
  const found: Import[] = []
  const add = (specifier: ts.Node | undefined, kind: Import['kind']): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier) || specifier.text.startsWith('node:')) return
    const local = specifier.text.startsWith('.')
    const to = local
      ? posix.join(posix.dirname(from), specifier.text).replace(/\.js$/, from.endsWith('.js') ? '.js' : '.ts')
      : specifier.text.split('/').slice(0, specifier.text.startsWith('@') ? 2 : 1).join('/')
    found.push({ from, to, local, kind })
  }
  const visit = (node: ts.Node): void => {
    // Under verbatimModuleSyntax, `import { type X }` still loads the module; only `import type` does not.
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type' : 'static')
    }
    if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'static')
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, 'type')
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], 'dynamic')
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest))
  return found
}

t.test('the tests of every folder run: together in one process, or alone as .taprc says', async t => {
  const rooms = readdirSync(join(root, 'test/rooms')).map(file => readFileSync(join(root, 'test/rooms', file), 'utf8')).join('\n')
  const together = [...rooms.matchAll(/'(test[^']*)'/g)].map(([, folder]) => folder!)
  const alone = [...readFileSync(join(root, '.taprc'), 'utf8').matchAll(/^ {2}- (test\/.*\.test\.ts)$/gm)].map(([, file]) => file!)
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.test.ts') && !file.includes('node_modules'))
    .map(file => `test/${file.split(sep).join('/')}`)
  t.strictSame(files.filter(file => alone.includes(file)).sort(), [...alone].sort(), 'each that is named exists')
  const folderOf = (file: string) => file.split('/').slice(0, file.split('/').length === 2 ? 1 : 2).join('/')
  const run = (file: string) => together.filter(folder => folder === folderOf(file)).length + Number(alone.includes(file))
  t.strictSame(files.filter(file => run(file) < 1), [])
  t.equal(new Set(together).size, together.length, 'no folder twice')
})
