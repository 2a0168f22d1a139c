/**
 * The app that `fastify generate --lang=ts` makes today, a CommonJS project, with the tasks of the README: compiles it, and runs a task by
 * the command line, compiled, as it is and with tsx, on each Node.js that is supported: `npm run generated-app`. Needs the npm registry,
 * so it is not part of `npm test`.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../support/compiler.js'

/** README's tasks and handlers, as a plugin of the app. */
const [, imported, definitions] =
  /^```ts\n(import [^]*?)\n\n(const tasks = defineTasks[^]*?)^const app = /m.exec(readFileSync(join(root, 'README.md'), 'utf8'))!
const TASKS = `
import fp from 'fastify-plugin'
${imported!.replace(/^import Fastify .*\n/m, '')}
${definitions!}
export default fp(async app => { await app.register(cloudTasks, { tasks, handlers }) })
`
const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-generated-'))
const app = join(folder, 'app')
const program = join(app, 'node_modules/fastify-cloud-tasks/dist/cli/main.js')

/** Without the tsx that runs this script. */
function run (cwd: string, command: string, ...args: string[]): string {
  const { NODE_OPTIONS, ...env } = process.env
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function tryOut (kind: string, file = 'src/app.ts'): boolean {
  const passed = [20, 22, 24].map(major => {
    const on = (...args: string[]): string => run(app, 'npx', '-y', `node@${major}`, program, ...args, '-a', file)
    try {
      const listed = on('list')
      on('run', 'send-receipt', '{"order":"42","email":"ada@example.com"}')
      const good = /^send-receipt +POST/m.test(listed) && isRefused(() => on('run', 'send-receipt', '{"order":"42"}'))
      console.log(`${good ? 'ok' : `not ok: ${listed}`}, ${kind}, Node.js ${major}`)
      return good
    } catch (error) {
      console.log(`not ok, ${kind}, Node.js ${major}: ${(error as { stderr?: string }).stderr ?? String(error)}`)
      return false
    }
  })
  return passed.every(Boolean)
}

/** A payload that does not fit its schema. */
function isRefused (call: () => string): boolean {
  try {
    call()
    return false
  } catch (error) {
    return (error as { stderr?: string }).stderr?.includes('does not fit the schema') === true
  }
}

/**
 * By the compiler and the settings that come with the app. TypeScript 6 refuses those of fastify-cli 8 even before anything is added,
 * because they name no `rootDir` (TS5011).
 */
function compiles (): boolean {
  try {
    run(app, 'npx', 'tsc', '--rootDir', 'src')
    console.log('ok, compiles')
    return true
  } catch (error) {
    console.log(`not ok, does not compile: ${(error as { stdout?: string }).stdout ?? String(error)}`)
    return false
  }
}

try {
  run(folder, 'npx', '-y', 'fastify-cli', 'generate', 'app', '--lang=ts')
  writeFileSync(join(app, 'src/plugins/tasks.ts'), TASKS)
  const tarball = run(root, 'npm', 'pack', '--silent', '--pack-destination', folder).trim()
  run(app, 'npm', 'install', '--silent', join(folder, tarball), '@sinclair/typebox@0.34')
  const results = [compiles() && tryOut('compiled', 'dist/app.js'), tryOut('as generated (ts-node)')]
  run(app, 'npm', 'install', '--silent', '-D', 'tsx')
  results.push(tryOut('with tsx'))
  process.exitCode = results.every(Boolean) ? 0 : 1
} finally {
  rmSync(folder, { recursive: true })
}
