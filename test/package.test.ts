import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import t from 'tap'
import { browserTests } from './console/browser/chromium.js'
import { compile } from './support/compiler.js'
import { alone, install, manifest, pack } from './support/package.js'
import { writeProgram } from './support/published-types.js'

t.setTimeout(180_000)

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-package-')))
t.teardown(() => { rmSync(folder, { recursive: true }) })

const { skip, open } = browserTests(t, { asServed: true })

let tarball: string
const app = join(folder, 'app')
const installed = join(app, 'node_modules', manifest.name)

t.before(async () => {
  tarball = await pack(folder)
  install(tarball, app)
})

t.test('the package holds what it exports and what a reader looks for, and no tests', async t => {
  const files = filesIn(installed)
  for (const file of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts']) {
    t.ok(files.includes(file), file)
  }
  const targets = (part: unknown): string[] => typeof part === 'string' ? [part] : Object.values(part as object).flatMap(targets)
  for (const target of targets([manifest.exports, manifest.bin ?? {}])) t.ok(files.includes(target.replace('./', '')), target)
  t.same(files.filter(file => /(?:^|[/.])(?:test|bench|example|tap|ci)(?:[/.]|$)|tsconfig|\.tgz$/.test(file)), [])
})

t.test('every source map holds its sources', async t => {
  const maps = filesIn(installed).filter(file => file.endsWith('.map'))
  t.ok(maps.some(map => /^dist\/chunks\/core-/.test(map)))
  for (const map of maps) {
    const { sources, sourcesContent } = JSON.parse(readFileSync(join(installed, map), 'utf8')) as {
      sources: string[]
      sourcesContent: Array<string | null>
    }
    t.ok(sourcesContent.length === sources.length && sourcesContent.every(source => source !== null), map)
  }
})

t.test('an app with the embedded queue loads one module of the package beside its entry', async t => {
  const module = readFileSync(join(installed, 'dist/index.js'), 'utf8')
  t.strictSame(module.match(/from "[^"]+"/g)!.map(text => text.replace(/-[\w-]{8}\.js/, '.js')), ['from "./chunks/core.js"'])
  const core = readFileSync(join(installed, 'dist', /"\.\/(chunks\/core-[\w-]{8}\.js)"/.exec(module)![1]!), 'utf8')
  t.strictSame(core.match(/^import .* from "\.[^"]+"/gm), null, 'and that loads no other at once')
})

t.test('the declarations in the package are those that its entries lead to', async t => {
  const types = filesIn(installed).filter(file => /\.d\.c?ts$/.test(file))
  t.ok(types.length < 100, `${types.length}`)
  t.notOk(types.includes('dist/cli/program.d.ts'))
  // What the oldest supported TypeScript does not read: a generic Buffer, and methods named by constants.
  const unreadable = types.flatMap(file => readFileSync(join(installed, file), 'utf8').match(/\bBuffer<.*|^ +\[\w+\]\(.*/gm) ?? [])
  t.strictSame(unreadable, [])
})

t.test('import works, and a task runs, without what only Cloud Tasks, a disk or token verification need', async t => {
  const lean = join(folder, 'lean')
  install(tarball, lean, name => !['@google-cloud/tasks', 'lmdb', 'jose'].includes(name))
  t.equal(await node(lean, 'main.js', `
    import { Type } from '@sinclair/typebox'
    import Fastify from 'fastify'
    import cloudTasks, { cloudTasks as named, defineTasks, tasksOf } from 'fastify-cloud-tasks'
    const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
    const app = Fastify()
    const done = new Promise(resolve => {
      app.register(cloudTasks, { tasks, transport: 'local', handlers: { greet: async ({ name }) => resolve('hello ' + name) } })
    })
    await app.ready()
    await tasksOf(app, tasks).enqueue('greet', { name: 'Ada' })
    console.log(await done, named === cloudTasks)
    await app.close()
  `), 'hello Ada true\n')
})

t.test('require works', async t => {
  t.equal(await node(app, 'main.cjs', `
    const { default: cloudTasks, defineTasks, errors } = require('fastify-cloud-tasks')
    console.log(typeof cloudTasks, typeof defineTasks, new errors.FST_TASKS_CLOSING().code)
  `), 'function function FST_TASKS_CLOSING\n')
})

t.test('every module loads with the declared dependencies alone', async t => {
  // What the console's page loads is for browsers.
  const programs = Object.values(manifest.bin ?? {}).map(file => file.replace('./', ''))
  const modules = filesIn(installed).filter(
    file => file.startsWith('dist/') && file.endsWith('.js') && !programs.includes(file) && !file.startsWith('dist/console/assets/')
  )
  t.equal(await node(app, 'all.js', `
    for (const file of ${JSON.stringify(modules)}) await import('./node_modules/fastify-cloud-tasks/' + file)
    console.log('loaded')
  `), 'loaded\n')
})

t.test("the console's page is a handful of files that need no package, and works in a browser", async t => {
  write(
    app,
    'console.js',
    `
    import Fastify from 'fastify'
    import { Type } from '@sinclair/typebox'
    import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
    import taskConsole from 'fastify-cloud-tasks/console'
    const app = Fastify()
    await app.register(taskConsole)
    await app.register(cloudTasks, { tasks: defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } }), transport: 'local', handlers: { greet: async ({ name }) => 'hello ' + name } })
    console.log(await app.listen({ port: 0, host: '127.0.0.1' }) + '/console/')
    process.stdin.on('end', () => app.close()).resume()
  `
  )
  const server = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, 'console.js'], { cwd: app, stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(async () => {
    server.stdin.end()
    await once(server, 'exit')
  })
  const [line] = await once(server.stdout.setEncoding('utf8'), 'data') as [string]
  const page = line.trim()
  const html = await (await fetch(page)).text()
  const urls = Array.from(html.matchAll(/(?:src|href)="([^"]+)"/g), ([, path]) => new URL(path!, page))
  t.strictSame(urls.map(({ pathname }) => basename(pathname)).sort(), [
    'colours.css',
    'console.css',
    'first-paint.js',
    'icon.svg',
    'main.js'
  ])
  for (const url of urls) {
    const response = await fetch(url)
    t.equal(response.status, 200, url.pathname)
    t.notMatch(await response.text(), /\bfrom\s*["']|\bimport\s*["'(]|@import/, 'it loads nothing else')
  }
  if (skip !== false) {
    t.comment(skip)
    return
  }
  const opened = await open(t, `${page}#/run?task=greet`)
  await opened.getByLabel('name', { exact: true }).fill('Ada')
  await opened.getByRole('button', { name: 'Run now' }).click()
  await opened.getByText('"hello Ada"').waitFor()
})

t.test('npx runs the command line', async t => {
  const { stdout } = await alone('npx', ['--offline', '--no-update-notifier', '--logs-max=0', manifest.name, '--version'], app)
  t.equal(stdout, `${manifest.version}\n`)
})

t.test('the command line runs a handler of an app in JavaScript, and explains how to run one in TypeScript', async t => {
  const program = async (...args: string[]) => await alone(process.execPath, [join('node_modules/.bin', manifest.name), ...args], app)
  write(app, 'plugin.js', `
    import { Type } from '@sinclair/typebox'
    import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
    const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
    export default async app => { await app.register(cloudTasks, { tasks, handlers: { greet: async ({ name }) => 'hello ' + name } }) }
  `)
  t.match(await program('run', 'greet', '{"name":"Ada"}', '-a', 'plugin.js'), { stdout: '"hello Ada"\n', stderr: '' })
  // No version of Node.js takes an enum without a loader.
  write(app, 'plugin.ts', 'enum Colour { Red }\nexport default async () => { console.log(Colour.Red) }')
  await t.rejects(program('list', '-a', 'plugin.ts'), { code: 1, stdout: '', stderr: /npm i -D tsx/ })
})

t.test('the published types hold for both module systems and ways to resolve modules, with none or both TypeBox packages', async t => {
  const cells = [
    { typebox: 'none', resolution: 'bundler', type: 'module', exactOptionalPropertyTypes: false },
    { typebox: 'both', resolution: 'nodenext', type: 'commonjs', exactOptionalPropertyTypes: true, skipLibCheck: true }
  ] as const
  for (const cell of cells) {
    const program = join(folder, cell.typebox)
    install(tarball, program, name => !/typebox/.test(name))
    writeProgram(program, cell, Object.keys(manifest.exports))
  }
  t.strictSame(await compile(folder, '--build', '--singleThreaded', ...cells.map(({ typebox }) => typebox)), [])
})

t.test('types resolve for modules of both systems in one app, and Register can be filled', async t => {
  // Of its settings the strictest: here a CommonJS module may not import the types of an ES module.
  const cell = { typebox: '@sinclair/typebox', resolution: 'node16', type: 'module', exactOptionalPropertyTypes: true } as const
  const module = `
    import cloudTasks = require('fastify-cloud-tasks')
    import plugin, { errors, tasksOf, type Register, type TaskPayload } from 'fastify-cloud-tasks'
    import taskConsole from 'fastify-cloud-tasks/console'
    import { createEmulator } from 'fastify-cloud-tasks/emulator'
    import { CloudTasksInstrumentation, type CloudTasksInstrumentationConfig } from 'fastify-cloud-tasks/otel'
    import { testTasks, type TestKit } from 'fastify-cloud-tasks/testing'
    cloudTasks.defineTasks satisfies Function
    // @ts-expect-error not exported
    cloudTasks.defineTask
    new errors.FST_TASKS_CLOSING().code satisfies 'FST_TASKS_CLOSING'
    export const payload: TaskPayload<NonNullable<Register['tasks']>, 'typebox'> = { name: 'Ada' }
    // @ts-expect-error missing field
    export const wrong: TaskPayload<NonNullable<Register['tasks']>, 'typebox'> = {}
    export type Code = errors.TaskError<'FST_TASKS_CLOSING'>
    export const link: CloudTasksInstrumentationConfig = { propagation: 'link' }
    export const instrumentation: CloudTasksInstrumentation = new CloudTasksInstrumentation(link)
    export const test = (kit: TestKit<NonNullable<Register['tasks']>>) => {
      kit.assertEnqueued('typebox', { name: 'Ada' })
      // @ts-expect-error wrong type of a field
      kit.assertEnqueued('typebox', { name: 1 })
    }
    export default [plugin, tasksOf, taskConsole, createEmulator, testTasks]
  `
  writeProgram(app, cell, Object.keys(manifest.exports), { 'module.cts': module })
  // A fault in the package's own declarations is seen; those of others, to which links lead, are theirs.
  appendFileSync(join(installed, 'dist/index.d.ts'), 'export type Gone = NotThere\n')
  const complaints = (await compile(app, '--singleThreaded')).filter(({ file }) => !file.startsWith('..'))
  t.strictSame(complaints.map(({ file, message }) => [file, /NotThere/.test(message)]), [[join('node_modules', manifest.name, 'dist/index.d.ts'), true]])
})

function filesIn (folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)))
}

function write (app: string, file: string, text: string): void {
  writeFileSync(join(app, file), text)
}

/** What `code` prints, run by itself in `app`. */
async function node (app: string, file: string, code: string): Promise<string> {
  write(app, file, code)
  const { stdout } = await alone(process.execPath, [file], app)
  return stdout
}
