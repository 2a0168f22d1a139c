import { execFile } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CloudTasksClient } from '@google-cloud/tasks'
import { credentials } from '@grpc/grpc-js'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { fetchProxy, grpcProxy, tokenProxy } from '../../lib/options/proxy.js'
import { systemClock } from '../../lib/clock/clock.js'
import { OidcVerifier } from '../../lib/worker/auth/oidc.js'
import { environment } from '../support/environment.js'
import { startRecordingServer } from '../support/recording-server.js'
import { ACCOUNT, AUDIENCE, sign, startIssuer } from '../support/token-issuer.js'

const tasks = defineTasks({ mail: { payload: Type.Object({}) } })
const CLOUD: Partial<CloudTasksOptions> = {
  transport: 'cloud',
  project: 'demo',
  location: 'us-central1',
  target: { type: 'http', url: 'https://worker.example.com' },
  sendTimeoutSeconds: 1
}

/** A proxy that lets nothing through, at URL, and how often it was used. */
async function startProxy (t: Test) {
  const proxy = { url: '', used: 0 }
  const server = createServer(socket => {
    proxy.used++
    socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
    socket.on('error', () => {})
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  return Object.assign(proxy, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}

t.test('an emulator is called directly, regardless of proxies in the environment', async t => {
  const server = await startRecordingServer()
  t.teardown(() => server.close())
  const proxy = await startProxy(t)
  for (const variable of ['grpc_proxy', 'https_proxy', 'http_proxy']) {
    t.test(`such as ${variable}`, async t => {
      environment(t, {
        CLOUD_TASKS_EMULATOR_HOST: server.host,
        grpc_proxy: undefined,
        https_proxy: undefined,
        http_proxy: undefined,
        no_proxy: undefined,
        [variable]: proxy.url
      })
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(cloudTasks, { tasks, ...CLOUD } as CloudTasksOptions)
      t.equal((await app.enqueue('mail', {})).duplicate, false)
      t.equal(proxy.used, 0)
    })
  }
})

t.test("a failure behind a proxy names the proxy's variable, and not its address", async t => {
  const server = await startRecordingServer()
  t.teardown(() => server.close())
  const proxy = await startProxy(t)
  const fails = async (variables: Record<string, string | undefined>): Promise<string> => {
    environment(t, {
      grpc_proxy: undefined,
      https_proxy: undefined,
      http_proxy: undefined,
      no_proxy: undefined,
      no_grpc_proxy: undefined,
      ...variables
    })
    const client = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port: server.port, sslCreds: credentials.createInsecure() })
    const app = Fastify()
    await app.register(cloudTasks, { tasks, ...CLOUD, client } as never)
    const error = await app.enqueue('mail', {}).catch(error => error)
    await app.close()
    await client.close()
    return error.explanation ?? 'did not fail'
  }
  const explanation = await fails({ https_proxy: proxy.url.replace('//', '//user:secret@') })
  t.ok(proxy.used > 0)
  t.equal(explanation.includes('Cloud Tasks could not be reached (UNAVAILABLE: '), true)
  t.match(explanation, /; the request goes through the proxy in https_proxy$/)
  t.notMatch(explanation, /secret/)
  server.reply = () => ({ code: 'UNAVAILABLE', details: 'The service is currently unavailable.' })
  t.notMatch(await fails({ https_proxy: proxy.url, no_proxy: '127.0.0.1,googleapis.com' }), /proxy/, 'nor one that is not used')
})

t.test('which variable counts follows each library', async t => {
  t.equal(grpcProxy({ grpc_proxy: 'a', https_proxy: 'b', http_proxy: 'c' }, 'x.googleapis.com'), 'grpc_proxy')
  t.equal(grpcProxy({ https_proxy: 'b', http_proxy: 'c' }, 'x.googleapis.com'), 'https_proxy')
  t.equal(grpcProxy({ HTTPS_PROXY: 'b' }, 'x.googleapis.com'), undefined, 'gRPC reads lower case only')
  t.equal(grpcProxy({ http_proxy: 'c', no_proxy: '.googleapis.com' }, 'x.googleapis.com'), undefined)
  t.equal(grpcProxy({ http_proxy: 'c', no_grpc_proxy: 'example.com', no_proxy: '.googleapis.com' }, 'x.googleapis.com'), 'http_proxy')
  t.equal(tokenProxy({ https_proxy: 'b', HTTPS_PROXY: 'a' }, undefined), 'HTTPS_PROXY')
  t.equal(
    tokenProxy({ http_proxy: 'c', no_proxy: 'google.internal' }, 'metadata.google.internal'),
    'http_proxy',
    'a name is not a suffix here'
  )
  t.equal(tokenProxy({ http_proxy: 'c', no_proxy: '*.google.internal, x' }, 'metadata.google.internal'), undefined)
  t.strictSame(fetchProxy({ HTTPS_PROXY: 'a' }, 'www.googleapis.com'), { variable: 'HTTPS_PROXY', used: false })
  t.strictSame(fetchProxy({ https_proxy: 'a', NODE_USE_ENV_PROXY: '1' }, 'www.googleapis.com'), { variable: 'https_proxy', used: true })
  t.equal(fetchProxy({ https_proxy: 'a', NO_PROXY: '*' }, 'www.googleapis.com'), undefined)
  t.equal(fetchProxy({}, 'www.googleapis.com'), undefined)
  for (const [variables, host, variable] of [
    [{ grpc_proxy: '', http_proxy: 'c' }, 'x', 'http_proxy'],
    [{ http_proxy: 'c', no_proxy: ' a.com , .b.com ' }, 'x.b.com', undefined],
    [{ http_proxy: 'c', no_proxy: ' , ' }, 'x', 'http_proxy'],
    [{ http_proxy: 'c', no_proxy: 'b.com.x' }, 'b.com', 'http_proxy'],
    [{ http_proxy: 'c', no_grpc_proxy: '', no_proxy: 'x' }, 'x', undefined]
  ] as const) t.equal(grpcProxy(variables, host), variable)
  for (const [variables, host, variable] of [
    [{ HTTP_PROXY: 'a', http_proxy: 'b' }, undefined, 'HTTP_PROXY'],
    [{ https_proxy: 'a', HTTP_PROXY: 'b' }, undefined, 'https_proxy'],
    [{ http_proxy: 'b' }, undefined, 'http_proxy'],
    [{ http_proxy: 'b', NO_PROXY: '.x' }, undefined, 'http_proxy'],
    [{ http_proxy: 'b', NO_PROXY: 'a, x' }, 'x', undefined],
    [{ http_proxy: 'b', NO_PROXY: '', no_proxy: 'x' }, 'x', 'http_proxy'],
    [{ http_proxy: 'b', NO_PROXY: '.b.com' }, 'a.b.com', undefined],
    [{ http_proxy: 'b', NO_PROXY: 'x.b.com' }, 'a.x.b.com', 'http_proxy'],
    [{ http_proxy: 'b', NO_PROXY: '*.c.com' }, 'a.b.com', 'http_proxy']
  ] as const) t.equal(tokenProxy(variables, host), variable)
  for (const [variables, host, variable] of [
    [{ HTTP_PROXY: 'a', http_proxy: 'b' }, 'x', 'http_proxy'],
    [{ HTTPS_PROXY: 'a', http_proxy: 'b' }, 'x', 'HTTPS_PROXY'],
    [{ HTTP_PROXY: 'a', no_proxy: '', NO_PROXY: '*' }, 'x', 'HTTP_PROXY'],
    [{ HTTP_PROXY: 'a', no_proxy: 'y, b.com' }, 'a.b.com', undefined],
    [{ HTTP_PROXY: 'a', no_proxy: '*.b.com' }, 'a.b.com', undefined],
    [{ HTTP_PROXY: 'a', no_proxy: 'a.b.com*' }, 'a.b.com', 'HTTP_PROXY'],
    [{ HTTP_PROXY: 'a', no_proxy: 'c.com' }, 'a.b.com', 'HTTP_PROXY'],
    [{ HTTP_PROXY: 'a', NODE_USE_ENV_PROXY: '0' }, 'x', 'HTTP_PROXY']
  ] as const) t.strictSame(fetchProxy(variables, host), variable === undefined ? undefined : { variable, used: false })
})

t.test('keys of tokens', async t => {
  t.test('of an emulator are fetched directly even if Node.js is set to use a proxy', async t => {
    if (!process.allowedNodeEnvironmentFlags.has('--use-env-proxy')) {
      t.pass('skipped: this Node.js has no NODE_USE_ENV_PROXY')
      return
    }
    const issuer = await startIssuer(t)
    const proxy = await startProxy(t)
    const script = `
      const { requestKeys } = await import(${JSON.stringify(join(import.meta.dirname, '../../lib/worker/auth/key-request.ts'))})
      console.log((await requestKeys(${JSON.stringify(issuer.jwksUri)}, new AbortController().signal)).keys.length)`
    const env = { ...process.env, NODE_USE_ENV_PROXY: '1', http_proxy: proxy.url, no_proxy: '' }
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { env })
    t.equal(stdout, '1\n')
    t.equal(proxy.used, 0)
  })

  t.test('that cannot be had are blamed on the proxy that was used, or that was not', async t => {
    const callers = {
      verify: 'oidc',
      issuers: ['x'],
      jwksUri: 'https://127.0.0.1:1/certs',
      audiences: [AUDIENCE],
      emails: [ACCOUNT],
      cloudRunIam: false
    } as const
    const { key } = await startIssuer(t)
    const authorization = `Bearer ${await sign(key)}`
    const explanation = async (variables: Record<string, string | undefined>, jwksUri: string = callers.jwksUri): Promise<string> => {
      environment(t, {
        https_proxy: undefined,
        HTTPS_PROXY: undefined,
        http_proxy: undefined,
        HTTP_PROXY: undefined,
        no_proxy: undefined,
        NO_PROXY: undefined,
        NODE_USE_ENV_PROXY: undefined,
        ...variables
      })
      const verifier = new OidcVerifier({ ...callers, jwksUri }, { clock: systemClock })
      const error = await verifier.verify({ headers: { authorization }, rawHeaders: [] }).catch(error => error)
      await verifier.close()
      t.equal(error.code, 'FST_TASKS_KEYS_UNAVAILABLE')
      return error.explanation
    }
    t.equal(
      (await explanation({ https_proxy: 'http://127.0.0.1:1' })).includes(
        'the request ignores the proxy in https_proxy, which Node.js uses only with NODE_USE_ENV_PROXY=1'
      ),
      true
    )
    t.equal(
      (await explanation({ https_proxy: 'http://127.0.0.1:1', NODE_USE_ENV_PROXY: '1' })).includes(
        'through the proxy in https_proxy'
      ),
      true
    )
    t.notMatch(await explanation({}), /proxy/i)
    t.notMatch(await explanation({ https_proxy: 'http://127.0.0.1:1' }, 'http://127.0.0.1:1/certs'), /proxy/i)
  })
})
