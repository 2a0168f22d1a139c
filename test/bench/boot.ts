/**
 * What the plugin adds to the start of a server: import, register and ready of an app with one route, with the plugin and
 * without it, each in a process of its own, in turn. Beside it, a plugin of Fastify's own making with one route and the same schema.
 * Runs the compiled package in `dist/`.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { median } from './measure.js'

const root = join(import.meta.dirname, '../..')
const ROUNDS = Number(process.argv[3] ?? 15)
execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'ignore' })
if (!existsSync(join(root, 'dist/index.js'))) throw new Error('npm run build made no dist/index.js')

type Variant = 'without' | 'route' | 'plugin'

const ADDED: Readonly<Record<Variant, string>> = {
  without: '',
  route: `app.register(async app => {
    app.post('/work', { schema: { body: Type.Object({ n: Type.Integer() }) } }, async () => ({}))
  })`,
  plugin: `
    const { default: cloudTasks, defineTasks } = await import('${join(root, 'dist/index.js')}')
    const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
    app.register(cloudTasks, { tasks, handlers: { work () {} }, transport: 'local' })`
}

const script = (variant: Variant): string => `
  import Fastify from 'fastify'
  import { Type } from '@sinclair/typebox'
  import { createRequire } from 'node:module'
  const app = Fastify()
  app.post('/orders', { schema: { body: Type.Object({ n: Type.Integer() }) } }, async () => ({}))
  global.gc()
  const [startedAt, before] = [performance.now(), process.memoryUsage()]
  ${ADDED[variant]}
  await app.ready()
  const ms = performance.now() - startedAt
  global.gc()
  const after = process.memoryUsage()
  const google = Object.keys(createRequire(import.meta.url).cache).filter(file => /@google-cloud|google-gax|grpc/.test(file)).length
  console.log(JSON.stringify({ ms, mb: (after.rss - before.rss) / 1048576, heap: (after.heapUsed - before.heapUsed) / 1048576, google }))
  await app.close()`

interface Sample { ms: number, mb: number, heap: number, google: number }
const run = (variant: Variant): Sample =>
  JSON.parse(
    execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script(variant)], { cwd: root, encoding: 'utf8' })
  )

const samples: Record<Variant, Sample[]> = { without: [], route: [], plugin: [] }
for (let round = 0; round < ROUNDS; round++) {
  for (const variant of ['without', 'route', 'plugin'] as const) samples[variant].push(run(variant))
}
const added = (variant: Variant, key: 'ms' | 'mb' | 'heap') =>
  median(samples[variant].map((sample, index) => sample[key] - samples.without[index]![key]))
console.log(`boot, medians of ${ROUNDS} rounds of processes`)
console.log(`  without the plugin     ${median(samples.without.map(sample => sample.ms)).toFixed(1)} ms`)
for (const [variant, name] of [['route', 'a route of the same '], ['plugin', 'the plugin          ']] as const) {
  console.log(
    `  added by ${name}  ${added(variant, 'ms').toFixed(1)} ms, ${added(variant, 'mb').toFixed(1)} MB resident, ${added(variant, 'heap').toFixed(1)} MB of heap`
  )
}
console.log(`  modules of Google's client loaded: ${Math.max(...samples.plugin.map(sample => sample.google))}`)
