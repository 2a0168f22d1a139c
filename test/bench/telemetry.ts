/**
 * Runs what docs/observability.md says of Prometheus and of readiness, as it is printed there, with the exporter itself: which metrics
 * are scraped, and that the readiness check fails while a task is overdue and passes afterwards. `OTEL=DIR` is a folder in which
 * `npm install @opentelemetry/sdk-node @opentelemetry/exporter-prometheus` was run. Exits with 1 when anything differs.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { metricNames } from '../../lib/otel/names.js'
import { transpile } from '../support/transpile.js'

if (process.env.OTEL === undefined) throw new Error('OTEL=DIR is needed: where OpenTelemetry\'s SDK and exporter are installed')
const { resolve: resolvePackage } = createRequire(join(resolve(process.env.OTEL), 'package.json'))
const page = readFileSync(join(import.meta.dirname, '../../docs/observability.md'), 'utf8')

/** The code block that has this text, with the packages of the folder, and a free port where it names one. */
function snippet (text: string): string {
  const block = page.split('```js\n').slice(1).map(rest => rest.slice(0, rest.indexOf('```'))).find(code => code.includes(text))
  if (block === undefined) throw new Error(`docs/observability.md has no code with ${text}`)
  return block
    .replaceAll(/'(@opentelemetry\/(?:sdk-node|exporter-prometheus))'/g, (_, name: string) => JSON.stringify(resolvePackage(name)))
    .replace('port: 9464', `port: ${PORT}`)
}

const PORT = '19464'
const readiness = snippet('exposeStatusRoute').replace('oldestDueSeconds < 60', 'oldestDueSeconds < 0.5')
const telemetry = snippet('PrometheusExporter')
const app = `
import underPressure from '@fastify/under-pressure'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'

const tasks = defineTasks({ work: { payload: Type.Object({}) } })
let open
const gate = new Promise(resolve => { open = resolve })
const handlers = { work: () => gate }
const app = Fastify()
const queues = { default: { rateLimits: { maxConcurrentDispatches: 1 } } }
${readiness.replace('{ tasks, handlers }', "{ tasks, handlers, queues, transport: 'local' }")}
await app.listen({ port: 0, host: '127.0.0.1' })
const ready = async () => (await fetch(\`http://127.0.0.1:\${app.server.address().port}/ready\`)).status
const until = async status => {
  for (const endsAt = Date.now() + 15_000; await ready() !== status;) if (Date.now() > endsAt) return false
  return true
}
const seen = [await ready()]
await app.enqueue('work', {})
await app.enqueue('work', {})
seen.push(await until(503))
open()
seen.push(await until(200))
const scraped = await (await fetch('http://127.0.0.1:${PORT}/metrics')).text()
console.log(JSON.stringify({ seen, scraped }))
await app.close()
process.exit()
`

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-telemetry-')))
try {
  await transpile(folder)
  writeFileSync(join(folder, 'telemetry.mjs'), telemetry)
  writeFileSync(join(folder, 'app.mjs'), app)
  const env = { ...process.env, NODE_OPTIONS: '', OTEL_TRACES_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' }
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', './telemetry.mjs', 'app.mjs'], {
    cwd: folder, env, encoding: 'utf8', timeout: 120_000
  })
  if (status !== 0) throw new Error(`the app has failed\n${stdout}${stderr}`)
  const { seen, scraped } = JSON.parse(stdout) as { seen: unknown[], scraped: string }
  console.log(`readiness: ${seen[0]} at first, 503 while a task is overdue: ${seen[1]}, 200 afterwards: ${seen[2]}`)
  if (seen[0] !== 200 || seen[1] !== true || seen[2] !== true) process.exitCode = 1
  for (const name of Object.values(metricNames)) {
    const lines = scraped.split('\n').filter(line => line.startsWith(name.replaceAll('.', '_')))
    console.log(`${name}: ${lines.find(line => !line.includes('_bucket')) ?? 'MISSING'}`)
    if (lines.length === 0) process.exitCode = 1
  }
  if (stderr !== '') console.log(stderr)
} finally {
  rmSync(folder, { recursive: true })
}
