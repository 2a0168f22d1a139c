/**
 * `app.enqueue` of the compiled package in `dist/` against the bare official client, on one connection to one recording
 * server in a process of its own. Runs alternate; what is compared is the CPU time of this process and the calls a second,
 * as medians.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { CloudTasksClient } from '@google-cloud/tasks'
import { credentials } from '@grpc/grpc-js'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { echo, startRecordingServer } from '../support/recording-server.js'
import { inFlight, median, perSecond } from './measure.js'

// Many short runs in turn, so that whatever else the machine does meets both alike.
const ROUNDS = 40
const CALLS = new Map([[1, 300], [64, 1000]])

if (process.argv.includes('--serve')) await serve()
else await compare()

async function serve (): Promise<void> {
  const server = await startRecordingServer()
  server.reply = call => {
    server.calls.length = 0
    return echo(call)
  }
  process.once('disconnect', () => { server.close() })
  process.send?.(server.port)
}

async function compare (): Promise<void> {
  process.env.METADATA_SERVER_DETECTION ??= 'none'
  const root = join(import.meta.dirname, '../..')
  execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'ignore' })
  const { default: cloudTasks, defineTasks, tasksOf } = await import(join(root, 'dist/index.js')) as typeof import('../../lib/index.js')
  const child = fork(import.meta.filename, ['--serve'])
  const [port] = await once(child, 'message') as [number]
  const client = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port, sslCreds: credentials.createInsecure() })
  const tasks = defineTasks({
    'send-receipt': {
      payload: Type.Object({
        order: Type.String(),
        email: Type.String({ format: 'email' }),
        items: Type.Array(Type.Object({ sku: Type.String(), n: Type.Integer() }))
      })
    }
  })
  const serviceAccountEmail = 'tasks@demo.iam.gserviceaccount.com'
  const app = Fastify()
  await app.register(cloudTasks, {
    tasks,
    client,
    transport: 'cloud',
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url: 'https://worker.example.com', serviceAccountEmail }
  })
  await app.ready()
  const { enqueue } = tasksOf(app, tasks)
  const payload = { order: '42', email: 'ada@example.com', items: [{ sku: 'A-1', n: 2 }, { sku: 'B-2', n: 1 }] }
  const ways = {
    'bare client': async () => await client.createTask({
      parent: 'projects/demo/locations/us-central1/queues/default',
      task: {
        httpRequest: {
          url: 'https://worker.example.com/tasks/send-receipt',
          httpMethod: 'POST',
          headers: { 'content-type': 'application/json' },
          body: Buffer.from(JSON.stringify(payload)),
          oidcToken: { serviceAccountEmail, audience: 'https://worker.example.com' }
        }
      }
    }),
    'app.enqueue': async () => await enqueue('send-receipt', payload)
  }

  for (const call of Object.values(ways)) await inFlight(4000, 64, call)
  for (const [width, count] of CALLS) {
    const cpu: Record<string, number[]> = {}
    const rate: Record<string, number[]> = {}
    for (let round = 0; round < ROUNDS; round++) {
      const order = Object.entries(ways)
      for (const [name, call] of round % 2 === 0 ? order : order.reverse()) {
        const startedAt = performance.now()
        const before = process.cpuUsage()
        await inFlight(count, width, call)
        const { user, system } = process.cpuUsage(before);
        (cpu[name] ??= []).push((user + system) / count);
        (rate[name] ??= []).push(perSecond(count, performance.now() - startedAt))
      }
    }
    const ratios = cpu['app.enqueue']!.map((us, index) => us / cpu['bare client']![index]!)
    console.log(`${width} in flight:`)
    for (const name of Object.keys(ways)) {
      console.log(`  ${name.padEnd(12)} ${median(cpu[name]!).toFixed(1)} us CPU a call, ${median(rate[name]!)} calls/s`)
    }
    console.log(`  CPU, app.enqueue to bare client: ${median(ratios).toFixed(3)}`)
  }
  await app.close()
  await client.close()
  child.disconnect()
}
