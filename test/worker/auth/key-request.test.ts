import { createServer, globalAgent, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { keyRequestHint, requestKeys } from '../../../lib/worker/auth/key-request.js'
import { KeySet } from '../../../lib/worker/auth/key-set.js'
import { gate } from '../../support/app.js'
import { environment } from '../../support/environment.js'
import { startIssuer } from '../../support/token-issuer.js'

const { signal } = new AbortController()
const REQUEST = { redirect: 'error', headers: { accept: 'application/json' } }

/** A key server that answers with this status and text. */
async function serve (t: Test, status: number, text: string) {
  const seen: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    seen.push(request.headers)
    response.writeHead(status, { location: '/moved' }).end(text)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => { await new Promise(resolve => { server.close(resolve).closeAllConnections() }) })
  return { uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/certs`, seen }
}

t.test('keys over http come from the server itself, as JSON, with status 200', async t => {
  const { uri, seen } = await serve(t, 200, '{"keys":[]}')
  const used = t.capture(globalAgent, 'addRequest' as never)
  t.strictSame(await requestKeys(uri, signal), { keys: [] })
  t.equal(seen[0]?.accept, 'application/json')
  t.equal(used().length, 0, 'not by the agent of the process, which can have a proxy')
  for (const [status, text] of [[302, '{"keys":[]}'], [500, '{"keys":[]}'], [201, '{"keys":[]}'], [200, '<html>']] as const) {
    const other = await serve(t, status, text)
    await t.rejects(requestKeys(other.uri, signal))
    t.equal(other.seen.length, 1)
  }
  await t.rejects(requestKeys(uri, AbortSignal.abort(new Error('closing'))), { name: 'AbortError' })
})

t.test('the connection of an answer that is refused is closed, though its body goes on', async t => {
  const closed = gate()
  const server = createServer((_request, response) => {
    response.on('close', closed.open).writeHead(500).write('x')
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => { await new Promise(resolve => { server.close(resolve).closeAllConnections() }) })
  await t.rejects(requestKeys(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, signal))
  await closed.opened
})

t.test('keys over https are fetched without following redirects, with status 200', async t => {
  const answers = [Response.json({ keys: [] }), Response.json({ keys: [] }, { status: 201 }), new Response('', { status: 500 })]
  const calls: unknown[] = []
  t.intercept(globalThis, 'fetch', { value: async (...given: unknown[]) => { calls.push(given); return answers.shift() } })
  const uri = 'https://keys.example/certs'
  t.strictSame(await requestKeys(uri, signal), { keys: [] })
  t.strictSame(calls, [[uri, { ...REQUEST, signal }]])
  for (let i = 0; i < 2; i++) await t.rejects(requestKeys(uri, signal))
  t.equal(calls.length, 3)
})

t.test('the hint names the proxy of a request, and whether Node.js uses it', async t => {
  environment(t, {
    HTTPS_PROXY: undefined, https_proxy: 'http://proxy', no_proxy: 'inside.example', NO_PROXY: undefined, NODE_USE_ENV_PROXY: undefined
  })
  t.equal(keyRequestHint('http://keys.example/'), '')
  t.equal(keyRequestHint('https://inside.example/'), '')
  const ignored = keyRequestHint('https://keys.example/')
  t.equal(ignored.startsWith('; the request ignores the proxy in https_proxy'), true)
  process.env.NODE_USE_ENV_PROXY = '1'
  t.equal(keyRequestHint('https://keys.example/'), '; the request goes through the proxy in https_proxy')
})

t.test('a key server has five seconds to answer, and each failure is the cause of the error', async t => {
  const issuer = await startIssuer(t)
  const clock = new ManualClock()
  const keys = new KeySet(issuer.jwksUri, { clock })
  t.teardown(() => keys.close())
  const find = async () => await keys.find({ alg: 'RS256', kid: 'key-1' }).catch((error: unknown) => error as { code: string, cause: Error })
  issuer.mode = 'hangs'
  const asked = find()
  while (issuer.requests === 0) await clock.advance(0)
  await clock.advance(4999)
  t.equal(clock.pending, 1)
  await clock.advance(1)
  const late = await asked as { code: string, cause: Error }
  t.strictSame([late.code, late.cause instanceof Error], ['FST_TASKS_KEYS_UNAVAILABLE', true])
  t.equal(clock.pending, 0)
  issuer.mode = 'error'
  clock.pass(999)
  t.equal((await find() as { cause: Error }).cause, late.cause, 'within a second nothing is asked again')
  clock.pass(1)
  t.equal((await find() as { cause: Error }).cause.message, 'the key server answered 500')
  t.equal(issuer.requests, 2)
})

t.test('keys without an id are none', async t => {
  const issuer = await startIssuer(t)
  const { kid, ...jwk } = issuer.key.jwk
  issuer.keys = [{ ...issuer.key, jwk }]
  const clock = new ManualClock()
  const keys = new KeySet(issuer.jwksUri, { clock })
  t.teardown(() => keys.close())
  for (const id of [kid!, undefined!]) await t.rejects(keys.find({ alg: 'RS256', kid: id }), { code: 'FST_TASKS_KEYS_UNAVAILABLE' })
  t.strictSame([keys.version, clock.pending], [undefined, 0])
})

t.test('closed, nothing is requested any more', async t => {
  const issuer = await startIssuer(t)
  const keys = new KeySet(issuer.jwksUri, { clock: new ManualClock() })
  await keys.close()
  await t.rejects(keys.find({ alg: 'RS256', kid: 'key-1' }), { code: 'FST_TASKS_KEYS_UNAVAILABLE' })
  t.equal(issuer.requests, 0)
})
