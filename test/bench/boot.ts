/**
 * What the plugin adds to the start of a server: import, register and ready of an app with one route, with the plugin and
 * without it, each in a process of its own, in turn. Runs the compiled package in `dist/`.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { median } from './measure.js'

const root = join(import.meta.dirname, '../..')
const ROUNDS = Number(process.argv[3] ?? 15)
execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'ignore' })
if (!existsSync(join(root, 'dist/index.js'))) throw new Error('npm run build made no dist/index.js')

const script = (withPlugin: boolean): string => `
  import Fastify from 'fastify'
  import { Type } from '@sinclair/typebox'
  import { createRequire } from 'node:module'
  const app = Fastify()
  app.post('/orders', { schema: { body: Type.Object({ n: Type.Integer() }) } }, async () => ({}))
  global.gc()
  const [startedAt, before] = [performance.now(), process.memoryUsage()]
  ${withPlugin
    ? `const { default: cloudTasks, defineTasks } = await import('${join(root, 'dist/index.js')}')
       const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
       await app.register(cloudTasks, { tasks, handlers: { work () {} }, transport: 'local' })`
    : ''}
  await app.ready()
  const ms = performance.now() - startedAt
  global.gc()
  const after = process.memoryUsage()
  const google = Object.keys(createRequire(import.meta.url).cache).filter(file => /@google-cloud|google-gax|grpc/.test(file)).length
  console.log(JSON.stringify({ ms, mb: (after.rss - before.rss) / 1048576, heap: (after.heapUsed - before.heapUsed) / 1048576, google }))
  await app.close()`

interface Sample { ms: number, mb: number, heap: number, google: number }
const run = (withPlugin: boolean): Sample => JSON.parse(execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script(withPlugin)], { cwd: root, encoding: 'utf8' }))

const [withPlugin, without]: [Sample[], Sample[]] = [[], []]
for (let round = 0; round < ROUNDS; round++) {
  without.push(run(false))
  withPlugin.push(run(true))
}
const added = (key: 'ms' | 'mb' | 'heap') => median(withPlugin.map((sample, index) => sample[key] - without[index]![key]))
console.log(`boot, medians of ${ROUNDS} pairs of processes`)
console.log(`  without the plugin ${median(without.map(sample => sample.ms)).toFixed(1)} ms`)
console.log(`  with it            ${median(withPlugin.map(sample => sample.ms)).toFixed(1)} ms`)
console.log(`  added              ${added('ms').toFixed(1)} ms, ${added('mb').toFixed(1)} MB resident, ${added('heap').toFixed(1)} MB of heap`)
console.log(`  modules of Google's client loaded: ${Math.max(...withPlugin.map(sample => sample.google))}`)
