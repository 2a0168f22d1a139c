/**
 * The emulator of the compiled package in `dist/`, in a process of its own: CreateTask a second over gRPC and REST with 64 calls in
 * flight, and what each costs the server; dispatches a second to a target on loopback; memory at 100,000 pending tasks. Load and
 * target are processes of their own, too, so on two cores all three share them.
 *
 * OTHER=FILE measures CreateTask over gRPC of another emulator beside it: a program that takes `-host HOST -port PORT`, run in
 * the directory that it lies in.
 *
 * FIREBASE_TOOLS=DIR measures CreateTask over REST, and tasks from creation to dispatch, of that emulator for tasks which is in
 * firebase-tools: DIR is where `npm install firebase-tools` was run.
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type ClientHttp2Session } from 'node:http2'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { CloudTasksClient } from '@google-cloud/tasks'
import { Client, credentials, type MethodDefinition } from '@grpc/grpc-js'
import { Pool } from 'undici'
import { loadProtos } from '../../lib/emulator/proto/protos.js'
import { inFlight, median, perSecond } from './measure.js'

const ROUNDS = 5
const CALLS = 5000
const PENDING = 100_000
/** A queue dispatches at most 500 a second, so there are many. */
const QUEUES = 20
const DISPATCHED = 10_000
const PARENT = 'projects/bench/locations/l'
const PAUSED = `${PARENT}/queues/paused`

const [, , , role] = process.argv

/** Counts requests, and resolves after a number of them. */
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
    await delivery(start)
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

interface Way {
  /** Before each round. */
  readonly begin: () => Promise<void>
  readonly call: () => Promise<unknown>
  readonly pid: number
  readonly rates: number[]
  readonly micros: number[]
}

async function creation (start: Start): Promise<void> {
  const ways = new Map<string, Way>()
  const closers: Array<() => unknown> = []
  const add = (name: string, { process }: Emulator, call: Way['call'], begin = async (): Promise<void> => {}): void => {
    ways.set(name, { begin, call, pid: process.pid!, rates: [], micros: [] })
  }
  const grpc = new Map([['this', await start()]])
  if (process.env.OTHER !== undefined) grpc.set('other', await startOther(process.env.OTHER))
  for (const [name, emulator] of grpc) {
    const { port } = emulator
    const session = connect(`http://127.0.0.1:${port}`)
    const google = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port, sslCreds: credentials.createInsecure() })
    await google.createQueue({ parent: PARENT, queue: { name: PAUSED } })
    await google.pauseQueue({ name: PAUSED })
    add(`gRPC, ${name}`, emulator, await creator(session))
    add(`gRPC through Google's client, ${name}`, emulator, async () => await google.createTask({ parent: PAUSED, task: TASK }))
    closers.push(() => { session.close() }, async () => { await google.close() }, async () => { await end(emulator.process) })
  }
  const own = grpc.get('this')!
  const pool = new Pool(`http://127.0.0.1:${own.port}`, { connections: 64 })
  const create = restCreator(pool)
  add('REST, this', own, async () => { await create(`/v2/${PAUSED}/tasks`) })
  closers.unshift(async () => { await pool.close() })
  const firebase = await startFirebase()
  if (firebase !== undefined) {
    const pool = new Pool(`http://127.0.0.1:${firebase.port}`, { connections: 64 })
    const create = restCreator(pool)
    let queue = ''
    let queues = 0
    add('REST, firebase-tools', firebase, async () => { await create(`${queue}/tasks`) }, async () => {
      // It has no pauses, and holds 10,000 tasks a queue: one for each round, that dispatches none.
      queue = `/${PAUSED}-${queues++}`
      await send(pool, queue, JSON.stringify({ rateLimits: { maxDispatchesPerSecond: 0 } }))
    })
    closers.unshift(async () => { await pool.close() })
    closers.push(async () => { await end(firebase.process) })
  }
  for (let round = 0; round <= ROUNDS; round++) {
    // Forwards and backwards in turn, so that no emulator is always next to the same one.
    for (const { begin, call, pid, rates, micros } of round % 2 === 0 ? ways.values() : [...ways.values()].reverse()) {
      await begin()
      const cpuBefore = cpuMilliseconds(pid)
      const begun = performance.now()
      await inFlight(CALLS, 64, call)
      if (round === 0) continue // It warms up.
      rates.push(perSecond(CALLS, performance.now() - begun))
      micros.push((cpuMilliseconds(pid) - cpuBefore) / CALLS * 1000)
    }
  }
  for (const [name, { rates, micros }] of ways) {
    console.log(`CreateTask, 64 in flight, ${name}: ${median(rates)}/s, ${Math.round(median(micros))} us of the server's CPU a call`)
  }
  for (const [name, { rates }] of ways) {
    const rival = [...ways].find(
      ([other]) => other !== name && !other.endsWith('this') && other.startsWith(name.replace(/this$/, ''))
    )?.[1]
    if (rival !== undefined && name.endsWith('this')) {
      console.log(`CreateTask, ${name} over the other: ${median(rates.map((rate, index) => rate / rival.rates[index]!)).toFixed(2)}`)
    }
  }
  for (const close of closers) await close()
}

/** From the first CreateTask over REST to the arrival of the last task, over queues that dispatch as fast as they may. */
async function delivery (start: Start): Promise<void> {
  const own = await start()
  const firebase = await startFirebase()
  const target = fork(import.meta.filename, ['emulator', 'target'])
  children.add(target)
  const [targetPort] = await once(target, 'message') as [number]
  const body = JSON.stringify({ task: { httpRequest: { url: `http://127.0.0.1:${targetPort}/`, body: TASK.httpRequest.body.toString('base64') } } })
  const contenders = [
    { name: 'this', emulator: own, prefix: '/v2', rates: [] as number[] },
    ...(firebase === undefined ? [] : [{ name: 'firebase-tools', emulator: firebase, prefix: '', rates: [] as number[] }])
  ]
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { name, emulator, prefix, rates } of contenders) {
      const pool = new Pool(`http://127.0.0.1:${emulator.port}`, { connections: 64 })
      const queues = Array.from({ length: QUEUES }, (_, index) => `${PARENT}/queues/r${round}-${index}`)
      for (const queue of queues) {
        if (name === 'this') await makeQueue(pool, queue)
        else await send(pool, `/${queue}`, '{}')
      }
      const enough = once(target, 'message')
      const begun = performance.now()
      await inFlight(DISPATCHED, 64, async index => { await send(pool, `${prefix}/${queues[index % QUEUES]!}/tasks`, body) })
      await enough
      if (round > 0) rates.push(perSecond(DISPATCHED, performance.now() - begun))
      await pool.close()
    }
  }
  for (const { name, rates } of contenders) console.log(`created over REST and dispatched, ${QUEUES} queues, ${name}: ${median(rates)}/s`)
  for (const { emulator } of contenders) await end(emulator.process)
  target.disconnect()
}

async function memory (start: Start): Promise<void> {
  const { process, port } = await start()
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })
  await makeQueue(pool, PAUSED)
  await send(pool, `/v2/${PAUSED}:pause`, '{}')
  const before = residentMegabytes(process)
  const create = restCreator(pool)
  await inFlight(PENDING, 64, async () => { await create(`/v2/${PAUSED}/tasks`) })
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
  const body = JSON.stringify({
    task: { httpRequest: { url: `http://127.0.0.1:${targetPort}/`, body: TASK.httpRequest.body.toString('base64') } }
  })
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

const TASK = {
  httpRequest: {
    url: 'http://127.0.0.1:1/work',
    headers: { 'Content-Type': 'application/json' },
    body: Buffer.from(JSON.stringify({ order: '42', email: 'ada@example.com', note: 'x'.repeat(100) }))
  }
}

/** Bytes that were encoded once: what is measured is the emulator, and Google's client costs more than it. */
async function creator (session: ClientHttp2Session): Promise<() => Promise<void>> {
  const { definitions } = await loadProtos()
  const { path, requestSerialize } = (
    definitions['google.cloud.tasks.v2.CloudTasks'] as unknown as Record<string, MethodDefinition<object, object>>
  ).CreateTask!
  const message = requestSerialize({ parent: PAUSED, task: TASK })
  const body = Buffer.concat([Buffer.alloc(5), message])
  body.writeUInt32BE(message.length, 1)
  return async () => {
    await new Promise<void>((resolve, reject) => {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' })
      let status: unknown
      stream.on('response', headers => { status = headers['grpc-status'] })
      stream.on('trailers', trailers => { status = trailers['grpc-status'] })
      stream.on('error', reject)
      stream.on('close', () => { status === '0' ? resolve() : reject(new Error(`CreateTask: status ${String(status)}`)) })
      stream.resume().end(body)
    })
  }
}

function restCreator (pool: Pool): (path: string) => Promise<void> {
  const body = JSON.stringify({ task: { httpRequest: { ...TASK.httpRequest, body: TASK.httpRequest.body.toString('base64') } } })
  return async path => { await send(pool, path, body) }
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
  await new Promise<void>((resolve, reject) => {
    probe.waitForReady(Date.now() + 10_000, error => {
      error === undefined ? resolve() : reject(error)
    })
  })
  probe.close()
  return { process: child, port }
}

/** Undefined, with a line that says so, where it is not installed. */
async function startFirebase (): Promise<Emulator | undefined> {
  if (process.env.FIREBASE_TOOLS === undefined) {
    console.log('firebase-tools: left out; run npm install firebase-tools in some directory and set FIREBASE_TOOLS to that')
    return undefined
  }
  const child = fork(import.meta.filename, ['emulator', 'firebase'])
  children.add(child)
  const [port] = await once(child, 'message') as [number]
  return { process: child, port }
}

/** Its emulator for tasks alone: the rest of firebase-tools would start it within an emulator for functions. */
async function serveFirebase (): Promise<void> {
  const load = createRequire(join(process.env.FIREBASE_TOOLS!, 'package.json'))
  const { TasksEmulator } = load('firebase-tools/lib/emulator/tasksEmulator.js')
  const port = 18_124
  await new TasksEmulator({ host: '127.0.0.1', port }).start()
  process.send!(port)
}

async function end (child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

function residentMegabytes ({ pid }: ChildProcess): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

/** All threads, since it started; NaN where the system does not tell it. */
function cpuMilliseconds (pid: number): number {
  if (process.platform !== 'linux') return NaN
  const [, afterName = ''] = /\) (.*)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))!
  const [user, system] = afterName.split(' ').slice(11, 13).map(Number) as [number, number]
  return (user + system) * TICK_MS
}

/** What Linux counts in, on all machines that Node runs on. */
const TICK_MS = 10

if (role === 'target') await serveTarget()
else if (role === 'firebase') await serveFirebase()
else await measure()
