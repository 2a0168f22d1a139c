/**
 * The command line with the app that `fastify generate --lang=ts` makes today, as it is and with tsx, on each Node.js that is
 * supported: `npm run generated-app`. Needs the npm registry, so it is not part of `npm test`.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../support/compiler.js'

const TASKS = `
import fp from 'fastify-plugin'
import { Type } from '@sinclair/typebox'
import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'
const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
export default fp(async app => { await app.register(cloudTasks, { tasks, handlers: { greet: async ({ name }: { name: string }) => 'hello ' + name } }) })
`
const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-generated-'))
const app = join(folder, 'app')
const program = join(app, 'node_modules/fastify-cloud-tasks/dist/cli/main.js')

/** Without the tsx that runs this script. */
function run (cwd: string, command: string, ...args: string[]): string {
  const { NODE_OPTIONS, ...env } = process.env
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function tryOut (loader: string): boolean {
  const passed = [20, 22, 24].map(major => {
    const on = (...args: string[]): string => run(app, 'npx', '-y', `node@${major}`, program, ...args, '-a', 'src/app.ts')
    try {
      const answers = [on('list'), on('run', 'greet', '{"name":"Ada"}')]
      const good = /^greet +POST/m.test(answers[0]!) && answers[1] === '"hello Ada"\n'
      console.log(`${good ? 'ok' : `not ok: ${answers.join('')}`}, ${loader}, Node.js ${major}`)
      return good
    } catch (error) {
      console.log(`not ok, ${loader}, Node.js ${major}: ${(error as { stderr?: string }).stderr ?? String(error)}`)
      return false
    }
  })
  return passed.every(Boolean)
}

try {
  run(folder, 'npx', '-y', 'fastify-cli', 'generate', 'app', '--lang=ts')
  writeFileSync(join(app, 'src/plugins/tasks.ts'), TASKS)
  const tarball = run(root, 'npm', 'pack', '--silent', '--pack-destination', folder).trim()
  run(app, 'npm', 'install', '--silent', join(folder, tarball), '@sinclair/typebox@0.34')
  const asGenerated = tryOut('as generated (ts-node)')
  run(app, 'npm', 'install', '--silent', '-D', 'tsx')
  process.exitCode = tryOut('with tsx') && asGenerated ? 0 : 1
} finally {
  rmSync(folder, { recursive: true })
}
