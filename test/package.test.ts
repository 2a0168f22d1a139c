import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

t.setTimeout(180_000)

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string
  exports: Record<string, string | Record<string, string>>
  bin?: Record<string, string>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}
const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-package-'))
t.teardown(() => { rmSync(folder, { recursive: true }) })

const app = join(folder, 'app')
const installed = join(app, 'node_modules', manifest.name)
const files = await packAndInstall()

t.test('the package holds what it exports and what a reader looks for, and no tests', async t => {
  for (const file of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts']) t.ok(files.includes(file), file)
  for (const target of [...Object.values(manifest.exports), manifest.bin ?? {}].flatMap(target => typeof target === 'string' ? target : Object.values(target))) {
    t.ok(files.includes(target.replace('./', '')), target)
  }
  t.same(files.filter(file => /(?:^|[/.])(?:test|bench|example|tap|ci)(?:[/.]|$)|tsconfig|\.tgz$/.test(file)), [])
})

t.test('every source map leads to a source in the package', async t => {
  const maps = files.filter(file => file.endsWith('.map'))
  t.ok(maps.includes('dist/index.js.map'))
  for (const map of maps) {
    const { sources } = JSON.parse(readFileSync(join(installed, map), 'utf8')) as { sources: string[] }
    t.same(sources.filter(source => !existsSync(resolve(installed, dirname(map), source))), [], map)
  }
})

t.test('import works, with the declared dependencies alone, and a task runs', async t => {
  t.equal(await node('main.js', `
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
  t.equal(await node('main.cjs', `
    const { default: cloudTasks, defineTasks, errors } = require('fastify-cloud-tasks')
    console.log(typeof cloudTasks, typeof defineTasks, new errors.FST_TASKS_CLOSING().code)
  `), 'function function FST_TASKS_CLOSING\n')
})

t.test('importing it loads neither the client of Cloud Tasks nor what only some apps need', async t => {
  t.equal(await node('lazy.cjs', `
    require('fastify-cloud-tasks')
    const loaded = Object.keys(require.cache).join()
    console.log(['@google-cloud', 'google-gax', '@grpc', 'lmdb'].filter(name => loaded.includes('/node_modules/' + name + '/')))
  `), '[]\n')
})

t.test('types resolve from both module systems, and Register can be filled', async t => {
  write('tasks.ts', `
    import { Type } from '@sinclair/typebox'
    import { defineTasks } from 'fastify-cloud-tasks'
    export const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
    declare module 'fastify-cloud-tasks' {
      interface Register { tasks: typeof tasks }
    }
  `)
  write('app.ts', `
    import Fastify from 'fastify'
    import cloudTasks, { type TaskHandlers } from 'fastify-cloud-tasks'
    import { tasks } from './tasks.js'
    const handlers: TaskHandlers<typeof tasks> = {
      async greet ({ name }) { return await this.enqueue('greet', { name: name.trim() }) }
    }
    const app = Fastify()
    await app.register(cloudTasks, { tasks, handlers, transport: 'local' })
    await app.enqueue('greet', { name: 'Ada' })
    // @ts-expect-error unknown name
    await app.enqueue('great', { name: 'Ada' })
    // @ts-expect-error missing field
    await app.enqueue('greet', {})
    // @ts-expect-error unknown option
    await app.register(cloudTasks, { tasks, trnasport: 'local' })
  `)
  write('app.cts', `
    import cloudTasks = require('fastify-cloud-tasks')
    cloudTasks.defineTasks satisfies Function
    // @ts-expect-error not exported
    cloudTasks.defineTask
  `)
  write('tsconfig.json', JSON.stringify({
    compilerOptions: { module: 'nodenext', target: 'es2023', types: ['node'], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true },
    files: ['app.ts', 'app.cts']
  }))
  // Without skipLibCheck, so that the package's own declarations are checked; what others' say is theirs.
  const tsc = createRequire(import.meta.url).resolve('typescript/lib/tsc.js')
  const output = await run(process.execPath, [tsc, '-p', app, '--pretty', 'false'], { cwd: app }).then(() => '', (error: { stdout: string }) => error.stdout)
  const complaints = output.split('\n').filter(line => /^\S.*\(\d+,\d+\): error|^error/.test(line))
  t.same(complaints.filter(line => !/^(?:\.\.\/)*\S*node_modules\/(?!fastify-cloud-tasks\/)/.test(line)), [])
})

/** Builds and packs a copy of the checkout, and unpacks it as npm would: nothing but what it declares lies beside it. */
async function packAndInstall (): Promise<string[]> {
  const checkout = join(folder, 'checkout')
  const left = new Set(['node_modules', 'dist', '.git', '.tap'])
  cpSync(root, checkout, { recursive: true, filter: source => !left.has(relative(root, source)) })
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
  await run('npm', ['pack', '--pack-destination', folder, '--no-update-notifier', '--logs-max=0', '--offline'], { cwd: checkout })
    .catch((error: { stdout: string, stderr: string }) => { throw new Error(`npm pack failed: ${error.stdout}${error.stderr}`) })
  const tarball = readdirSync(folder).find(file => file.endsWith('.tgz'))
  if (tarball === undefined) throw new Error('npm pack left no tarball')

  mkdirSync(installed, { recursive: true })
  await run('tar', ['-xzf', join(folder, tarball), '--strip-components=1', '-C', installed])
  const beside = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies), '@types/node']
  for (const name of beside) {
    mkdirSync(dirname(join(app, 'node_modules', name)), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), join(app, 'node_modules', name))
  }
  write('package.json', '{ "type": "module" }')
  return readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(installed, join(entry.parentPath, entry.name)))
}

function write (file: string, text: string): void {
  writeFileSync(join(app, file), text)
}

/** What `code` prints, run by itself in the app. */
async function node (file: string, code: string): Promise<string> {
  write(file, code)
  // tap's own loaders would come along in the environment and help with what the package must do by itself.
  const { NODE_OPTIONS, ...env } = process.env
  const { stdout } = await run(process.execPath, [file], { cwd: app, env })
  return stdout
}
