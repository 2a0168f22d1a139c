/**
 * The emulator of the compiled package in `dist/`, in a process of its own: CreateTask a second over gRPC and REST with 64 calls in
 * flight, dispatches a second to a target on loopback, and memory at 100,000 pending tasks. Load and target are
 * processes of their own, too, so on two cores all three share them.
 *
 * OTHER=FILE measures CreateTask over gRPC of another emulator beside it: a program that takes `-host HOST -port PORT`, run in
 * the directory that it lies in.
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { CloudTasksClient } from '@google-cloud/tasks'
import { Client, credentials, type MethodDefinition } from '@grpc/grpc-js'
import { Pool } from 'undici'
import { loadProtos } from '../../lib/emulator/protos.js'
import { inFlight, median, perSecond } from './measure.js'

const ROUNDS = 3
const CALLS = 5000
const PENDING = 100_000
/** A queue dispatches at most 500 a second, so there are many. */
const QUEUES = 20
const DISPATCHED = 10_000
const PARENT = 'projects/bench/locations/l'
const PAUSED = `${PARENT}/queues/paused`

const [, , , role] = process.argv

/** Counts what comes, and tells once it was so many. */
async function serveTarget (): Promise<void> {
  let count = 0
  const server = createServer((request, response) => {
    response.end()
    if (++count % DISPATCHED === 0) process.send!('enough')
  })
  server.listen(0, '127.0.0.1', () => { process.send!((server.address() as AddressInfo).port) })
  process.once('disconnect', () => { server.closeAllConnections(); server.close() })
}

async function measure (): Promise<void> {
  process.env.METADATA_SERVER_DETECTION ??= 'none'
  const root = join(import.meta.dirname, '../..')
  execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'ignore' })
  const command = [join(root, 'dist/cli/main.js'), 'emulator', '--port']
  const start = async () => await startEmulator(process.execPath, [...command, '0'], /listening on http:\/\/127\.0\.0\.1:(\d+)/)
  try {
    await creation(start)
    await memory(start)
    await dispatch(start)
  } finally {
    for (const child of children) child.kill('SIGKILL') // Those that an error has left.
  }
}

const children = new Set<ChildProcess>()

type Start = () => Promise<Emulator>

interface Emulator {
  readonly process: ChildProcess
  readonly port: number
}

async function creation (start: Start): Promise<void> {
  const emulators = new Map([['this', await start()]])
  if (process.env.OTHER !== undefined) emulators.set('other', await startOther(process.env.OTHER))
  const ways = new Map<string, { call: () => Promise<unknown>, figures: number[] }>()
  const closers: Array<() => unknown> = []
  for (const [name, { port }] of emulators) {
    const grpc = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
    const google = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port, sslCreds: credentials.createInsecure() })
    await google.createQueue({ parent: PARENT, queue: { name: PAUSED } })
    await google.pauseQueue({ name: PAUSED })
    const create = await creator(grpc)
    ways.set(`${name}: gRPC, bare`, { call: create, figures: [] })
    ways.set(`${name}: gRPC, Google's client`, { call: async () => await google.createTask({ parent: PAUSED, task: TASK }), figures: [] })
    closers.push(() => { grpc.close() }, async () => { await google.close() })
    if (name !== 'this') continue
    const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })
    ways.set(`${name}: REST`, { call: restCreator(pool), figures: [] })
    closers.push(async () => { await pool.close() })
  }
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { call, figures } of ways.values()) {
      const begun = performance.now()
      await inFlight(CALLS, 64, call)
      if (round > 0) figures.push(perSecond(CALLS, performance.now() - begun)) // The first one warms up.
    }
  }
  for (const [name, { figures }] of ways) console.log(`CreateTask, 64 in flight, ${name}: ${median(figures)}/s`)
  for (const close of closers) await close()
  for (const { process } of emulators.values()) await end(process)
}

async function memory (start: Start): Promise<void> {
  const { process, port } = await start()
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })
  await makeQueue(pool, PAUSED)
  await send(pool, `/v2/${PAUSED}:pause`, '{}')
  const before = residentMegabytes(process)
  await inFlight(PENDING, 64, restCreator(pool))
  console.log(`${PENDING} pending: ${Math.round(residentMegabytes(process))} MB resident, ${Math.round(before)} MB before`)
  await pool.close()
  await end(process)
}

async function dispatch (start: Start): Promise<void> {
  const { process, port } = await start()
  const target = fork(import.meta.filename, ['emulator', 'target'])
  children.add(target)
  const [targetPort] = await once(target, 'message') as [number]
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })
  const queues = Array.from({ length: QUEUES }, (_, index) => `${PARENT}/queues/q${index}`)
  for (const queue of queues) await makeQueue(pool, queue)
  const body = JSON.stringify({ task: { httpRequest: { url: `http://127.0.0.1:${targetPort}/`, body: TASK.httpRequest.body.toString('base64') } } })
  const figures: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const change = async (verb: string): Promise<void> => { for (const queue of queues) await send(pool, `/v2/${queue}:${verb}`, '{}') }
    await change('pause')
    await inFlight(DISPATCHED, 64, async index => { await send(pool, `/v2/${queues[index % QUEUES]!}/tasks`, body) })
    const enough = once(target, 'message')
    const begun = performance.now()
    await change('resume')
    await enough
    if (round > 0) figures.push(perSecond(DISPATCHED, performance.now() - begun))
  }
  console.log(`dispatches over ${QUEUES} queues: ${median(figures)}/s`)
  await pool.close()
  await end(process)
  target.disconnect()
}

const TASK = { httpRequest: { url: 'http://127.0.0.1:1/work', headers: { 'Content-Type': 'application/json' }, body: Buffer.from(JSON.stringify({ order: '42', email: 'ada@example.com', note: 'x'.repeat(100) })) } }

/** The bare call: what is measured is the emulator, and Google's client costs more than it. */
async function creator (client: Client): Promise<() => Promise<unknown>> {
  const { definitions } = await loadProtos()
  const { path, requestSerialize, responseDeserialize } = (definitions['google.cloud.tasks.v2.CloudTasks'] as unknown as Record<string, MethodDefinition<object, object>>).CreateTask!
  const request = { parent: PAUSED, task: TASK }
  return async () => await new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, response) => { error === null ? resolve(response) : reject(error) })
  })
}

function restCreator (pool: Pool): () => Promise<void> {
  const body = JSON.stringify({ task: { httpRequest: { ...TASK.httpRequest, body: TASK.httpRequest.body.toString('base64') } } })
  return async () => { await send(pool, `/v2/${PAUSED}/tasks`, body) }
}

async function makeQueue (pool: Pool, name: string): Promise<void> {
  await send(pool, `/v2/${PARENT}/queues`, JSON.stringify({ name }))
}

async function send (pool: Pool, path: string, json: string): Promise<void> {
  const { statusCode, body } = await pool.request({ method: 'POST', path, headers: { 'content-type': 'application/json' }, body: json })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${path}: ${statusCode} ${text}`)
}

async function startEmulator (file: string, args: readonly string[], listening: RegExp): Promise<Emulator> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.add(child)
  let said = ''
  for await (const piece of child.stdout) {
    const found = listening.exec(said += String(piece))
    if (found !== null) return { process: child, port: Number(found[1]) }
  }
  throw new Error(`${file} ended before it listened: ${said}`)
}

async function startOther (file: string): Promise<Emulator> {
  const port = 18_123
  const child = spawn(file, ['-host', '127.0.0.1', '-port', String(port)], { stdio: 'ignore', cwd: dirname(file) })
  children.add(child)
  const probe = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  await new Promise<void>((resolve, reject) => { probe.waitForReady(Date.now() + 10_000, error => { error === undefined ? resolve() : reject(error) }) })
  probe.close()
  return { process: child, port }
}

async function end (child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

function residentMegabytes ({ pid }: ChildProcess): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

if (role === 'target') await serveTarget()
else await measure()
