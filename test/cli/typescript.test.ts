import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { root } from '../support/compiler.js'
import { transpile } from '../support/transpile.js'

const checkout = join(t.testdir(), 'checkout')
await transpile(checkout)

/** As `fastify generate --lang=ts` writes it: CommonJS, types imported without `type`. The enum needs a loader on every Node.js. */
const GENERATED = {
  'package.json': '{}',
  'tsconfig.json': '{ "compilerOptions": { "module": "NodeNext", "esModuleInterop": true } }',
  'src/app.ts': `
    import { join } from 'node:path'
    import AutoLoad, { AutoloadPluginOptions } from '@fastify/autoload'
    import { FastifyPluginAsync, FastifyServerOptions } from 'fastify'
    export interface AppOptions extends FastifyServerOptions, Partial<AutoloadPluginOptions> {}
    const options: AppOptions = {}
    const app: FastifyPluginAsync<AppOptions> = async (fastify, opts): Promise<void> => {
      void fastify.register(AutoLoad, { dir: join(__dirname, 'plugins'), options: opts })
    }
    export default app
    export { app, options }`,
  'src/plugins/tasks.ts': `
    import fp from 'fastify-plugin'
    import { Type } from '@sinclair/typebox'
    import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
    enum Greeting { Hello = 'hello' }
    const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
    export default fp(async app => { await app.register(cloudTasks, { tasks, handlers: { greet: async ({ name }: { name: string }) => \`\${Greeting.Hello} \${name}\` } }) })`
}

/** ES modules with types that can be erased. */
const ERASABLE = {
  'package.json': '{ "type": "module" }',
  'src/app.ts': `
    import { join } from 'node:path'
    import autoload from '@fastify/autoload'
    import type { FastifyPluginAsync } from 'fastify'
    const app: FastifyPluginAsync = async app => { await app.register(autoload, { dir: join(import.meta.dirname, 'plugins') }) }
    export default app`,
  'src/plugins/tasks.ts': `
    import fp from 'fastify-plugin'
    import { Type } from '@sinclair/typebox'
    import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
    import { greet } from '../greet.ts'
    const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
    export default fp(async app => { await app.register(cloudTasks, { tasks, handlers: { greet } }) })`,
  'src/greet.ts': 'export const greet = async ({ name }: { name: string }): Promise<string> => "hello " + name'
}

/** As people write it for tsc and tsx: './greet.js' is greet.ts. */
const EMITTED = { ...ERASABLE, 'src/plugins/tasks.ts': ERASABLE['src/plugins/tasks.ts'].replace('../greet.ts', '../greet.js') }

/** An app outside of this repository, with the packages beside it that it has installed. */
function createApp (t: Test, files: Readonly<Record<string, string>>, installed: readonly string[] = []): string {
  const app = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-typescript-')))
  t.teardown(() => { rmSync(app, { recursive: true }) })
  const write = (file: string, text: string): void => {
    mkdirSync(dirname(join(app, file)), { recursive: true })
    writeFileSync(join(app, file), text)
  }
  for (const [file, text] of Object.entries(files)) write(file, text)
  write('node_modules/placeholder', '')
  mkdirSync(join(app, 'node_modules/@fastify'))
  mkdirSync(join(app, 'node_modules/@sinclair'))
  for (const name of ['fastify', 'fastify-plugin', '@fastify/autoload', '@sinclair/typebox', ...installed]) {
    symlinkSync(join(root, 'node_modules', name), join(app, 'node_modules', name))
  }
  symlinkSync(checkout, join(app, 'node_modules/fastify-cloud-tasks'))
  return app
}

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Without the loaders of the test runner, which it puts into the environment of every child. */
async function program (cwd: string, args: readonly string[], nodeOptions = ''): Promise<Ended> {
  const environment = nodeOptions === '' ? ['-u', 'NODE_OPTIONS'] : [`NODE_OPTIONS=${nodeOptions}`]
  const command = [...environment, process.execPath, join(checkout, 'dist/cli/main.js'), ...args]
  return await promisify(execFile)('env', command, { cwd }).then(ended => ({ ...ended, code: 0 }), (error: Ended) => error)
}

const GREET = ['run', 'greet', '{"name":"Ada"}', '-a', 'src/app.ts']

t.test('a CommonJS app with autoload runs by the tsx that it has installed', async t => {
  const { code, stdout, stderr } = await program(createApp(t, GENERATED, ['tsx']), GREET)
  t.equal(stdout, '"hello Ada"\n', stderr)
  t.equal(code, 0)
})

t.test('an app of ES modules with autoload runs by the tsx that it has installed', async t => {
  t.equal((await program(createApp(t, EMITTED, ['tsx']), GREET)).stdout, '"hello Ada"\n')
})

t.test('NODE_OPTIONS with tsx goes on working, with autoload, too', async t => {
  const { stdout, stderr } = await program(createApp(t, GENERATED, ['tsx']), GREET, '--import=tsx')
  t.equal(stdout, '"hello Ada"\n', stderr)
})

t.test('without a loader, Node.js erases types where it can, and else the message names tsx', async t => {
  const strips = (process.features as { readonly typescript?: unknown }).typescript === 'strip'
  const erased = await program(createApp(t, ERASABLE), GREET)
  if (strips) t.equal(erased.stdout, '"hello Ada"\n', erased.stderr)
  for (const { code, stdout, stderr } of [
    await program(createApp(t, EMITTED), GREET),
    await program(createApp(t, GENERATED), GREET),
    ...(strips ? [] : [erased])
  ]) {
    t.equal(code, 1)
    t.equal(stdout, '')
    t.match(stderr, /npm i -D tsx/)
  }
})
