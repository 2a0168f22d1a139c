import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import emulator from '../../lib/cli/commands/emulator.js'
import { parseDuration } from '../../lib/clock/duration.js'
import { transpile } from '../support/transpile.js'
import { command } from './terminal.js'

const checkout = t.testdir()
await transpile(checkout)
const queue = 'projects/p/locations/l/queues/q'

t.test('docs/emulator.md and the help describe every flag', async t => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/emulator.md'), 'utf8')
  const flags = Object.keys(emulator.options)
  t.ok(flags.length > 10)
  for (const flag of flags) {
    t.ok(page.includes(`| \`--${flag}`), flag)
    t.match(emulator.help, `  --${flag} `, flag)
    t.match(emulator.usage, `--${flag}`, flag)
  }
})

t.test('it says where it listens once it does, and ends with code 0 on a signal', async t => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const child = await startEmulator(t, ['--queue', queue])
    const { url } = child
    t.match(await json(`${url}/v2/${queue}`), { name: queue })
    t.match(await (await fetch(url)).text(), /<!doctype html>/i, 'the console is at the root')
    t.match(await json(`${url}/jwks`), { keys: [{ kty: 'RSA' }] })
    child.process.kill(signal)
    const [code] = await once(child.process, 'exit')
    t.equal(code, 0)
    t.equal(child.out(), `listening on ${url}\n`)
    t.equal(child.err(), '')
  }
})

t.test('it answers to addresses, to localhost and to names that were allowed', async t => {
  const { url } = await startEmulator(t, ['--queue', queue, '--allow-host', 'tasks', '--allow-host', 'Tasks.Example'])
  const { port } = new URL(url)
  const statusAs = async (host: string, path: string): Promise<number | undefined> => {
    const [response] = await once(get(url + path, { headers: { host } }), 'response') as [IncomingMessage]
    response.resume()
    return response.statusCode
  }
  for (const host of ['localhost', '172.17.0.2', '[::1]', 'tasks', 'tasks.example']) {
    t.equal(await statusAs(`${host}:${port}`, '/'), 200, host)
    t.equal(await statusAs(`${host}:${port}`, `/v2/${queue}`), 200, host)
  }
  t.equal(await statusAs(`elsewhere.example:${port}`, '/'), 403)
  t.equal(await statusAs(`elsewhere.example:${port}`, `/v2/${queue}`), 403)
})

t.test('what was acknowledged survives kill -9: queues, tasks, names, policies, the key', async t => {
  const data = join(folder(t), 'data')
  const { server, seen } = await target(t)
  const httpRequest = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
  const first = await startEmulator(t, ['--data', data, '--queue', queue])
  const keys = await json(`${first.url}/jwks`)
  const post = async (url: string, path: string, body: object = {}): Promise<any> =>
    await json(`${url}/v2/${path}`, { method: 'POST', body: JSON.stringify(body) })
  await post(first.url, `${queue}:pause`)
  await post(first.url, `${queue}/tasks`, { task: { name: `${queue}/tasks/kept`, httpRequest } })
  await post(first.url, `${queue}/tasks`, { task: { name: `${queue}/tasks/gone`, httpRequest } })
  await json(`${first.url}/v2/${queue}/tasks/gone`, { method: 'DELETE' })
  const policy = { bindings: [{ role: 'roles/cloudtasks.enqueuer', members: ['user:ada@example.com'] }] }
  await post(first.url, `${queue}:setIamPolicy`, { policy })
  first.process.kill('SIGKILL')
  await once(first.process, 'exit')

  const second = await startEmulator(t, ['--data', data, '--queue', queue])
  t.match(await json(`${second.url}/v2/${queue}`), { state: 'PAUSED' })
  t.match(await json(`${second.url}/v2/${queue}/tasks/kept`), { name: `${queue}/tasks/kept`, httpRequest })
  t.match(await post(second.url, `${queue}/tasks`, { task: { name: `${queue}/tasks/gone`, httpRequest } }), { error: { code: 409 } })
  t.match(await post(second.url, `${queue}:getIamPolicy`), policy)
  t.same(await json(`${second.url}/jwks`), keys)
  await post(second.url, `${queue}:resume`)
  if (seen.length === 0) await once(server, 'request')
  t.same(seen, ['kept'])
  t.match(await command(['emulator', '--port', '0', '--data', data]), {
    code: 1,
    out: '',
    err: /^fastify-cloud-tasks: .*has this directory open.*\n$/
  })
  second.process.kill('SIGTERM')
  t.equal((await once(second.process, 'exit'))[0], 0)
})

t.test('why it does not start is one line that says how to fix it', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => { taken.close() })
  const { port } = taken.address() as AddressInfo
  const foreign = folder(t)
  writeFileSync(join(foreign, 'thesis.txt'), 'precious')
  const bad: Array<[args: string[], code: number, problem: RegExp]> = [
    [['--port', String(port)], 1, new RegExp(`127\\.0\\.0\\.1:${port} is in use by another program; choose another port`)],
    [['--port', '0', '--host', '192.0.2.1'], 1, /--host: 192\.0\.2\.1 is not an address of this machine/],
    [['--port', '0', '--data', foreign], 1, /holds other files \(thesis\.txt\)/],
    [['--port', '0', '--data', join(foreign, 'thesis.txt')], 1, /thesis\.txt cannot be used/],
    [['--port', 'http'], 2, /--port must be a whole number from 0 to 65535, not 'http'/],
    [['--port', '65536'], 2, /--port must be a whole number from 0 to 65535, not '65536'/],
    [['--queue', 'q'], 2, /--queue must be full queue names such as projects\/.*, not "q"/],
    [['--queue', `${queue}_`], 2, /letters, digits and hyphens/],
    [['--task-tombstone', '1 hour'], 2, /--task-tombstone must be a time such as 30s/],
    [['--queue-tombstone', '5'], 2, /--queue-tombstone must be a time/],
    [['--queue-tombstone', '99999999d'], 2, /--queue-tombstone must be a number from 0 to/],
    [['--app-engine-url', 'localhost:3000'], 2, /--app-engine-url must be an http:\/\/ or https:\/\/ URL/],
    [['--app-engine-host', 'urls'], 2, /--app-engine-host must be 'service' or 'url'; did you mean 'url'\?/],
    [['--batch-duplicates', 'ignore'], 2, /--batch-duplicates must be 'reject' or 'report'/],
    [['--default-url', '{queue}'], 2, /--default-url must be an http:\/\/ or https:\/\/ URL/],
    [['--allow-host', 'http://tasks:8123'], 2, /--allow-host must be a name such as tasks\.example\.com/],
    [['--data', ''], 2, /--data must not be empty/],
    [['--host', ''], 2, /--host must not be empty/],
    [['--prot', '1'], 2, /did you mean '--port'/],
    [['extra'], 2, /'extra'/]
  ]
  for (const [args, code, problem] of bad) {
    const ended = await command(['emulator', ...args])
    t.match(ended, { code, out: '', err: ONE_LINE }, args.join(' '))
    t.match(ended.err, problem)
  }
})

t.test('durations are numbers with a unit', async t => {
  const durations: Array<[text: string, seconds: number | undefined]> = [
    ['0', 0],
    ['30s', 30],
    ['1h', 3600],
    ['7d', 604_800],
    ['1.5m', 90],
    ['250ms', 0.25],
    ['0s', 0],
    ['', undefined],
    ['5', undefined],
    ['-1s', undefined],
    ['1 s', undefined],
    ['1w', undefined],
    ['s', undefined],
    ['1e3s', undefined],
    ['1.s', undefined]
  ]
  for (const [text, seconds] of durations) t.equal(parseDuration(text), seconds, text)
})

interface Running {
  readonly process: ChildProcess
  readonly url: string
  readonly out: () => string
  readonly err: () => string
}

/** The command in a process of its own, on a free port. */
async function startEmulator (t: Test, args: readonly string[]): Promise<Running> {
  const child = spawn(process.execPath, [join(checkout, 'lib/cli/main.js'), 'emulator', '--port', '0', ...args], {
    cwd: checkout,
    env: { ...process.env, NODE_ENV: 'test', NODE_OPTIONS: '' }
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const said = { out: '', err: '' }
  child.stderr.on('data', piece => { said.err += piece })
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', piece => {
      said.out += piece
      const line = /^listening on (http:\S+)\n/.exec(said.out)
      if (line !== null) resolve(line[1]!)
    })
    child.once('exit', code => { reject(new Error(`ended with code ${code}: ${said.err}`)) })
  })
  return { process: child, url, out: () => said.out, err: () => said.err }
}

async function json (url: string, init: RequestInit = {}): Promise<any> {
  return await (await fetch(url, { ...init, headers: { 'content-type': 'application/json' } })).json()
}

/** Notes the ids of the tasks that come. */
async function target (t: Test): Promise<{ server: Server, seen: string[] }> {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(request.headers['x-cloudtasks-taskname'] as string)
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { server, seen }
}

function folder (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-cli-'))
  t.teardown(() => { rmSync(path, { recursive: true }) })
  return path
}

const ONE_LINE = /^fastify-cloud-tasks: [^\n]+\n$/
