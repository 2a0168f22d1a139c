import { createServer } from 'node:http'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { createRequire } from 'node:module'
import { createSecureContext } from 'node:tls'
import { credentials } from '@grpc/grpc-js'
import { CloudTasksClient } from '@google-cloud/tasks'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks } from '../../../lib/index.js'
import { environment } from '../../support/environment.js'

const tasks = defineTasks({ mail: { payload: Type.Object({}) } })
const CLOUD = {
  transport: 'cloud',
  project: 'demo',
  location: 'us-central1',
  target: { type: 'http', url: 'https://worker.example.com', serviceAccountEmail: 'tasks@demo.iam.gserviceaccount.com' }
} as const

/** The metadata server of a virtual machine, whose account may not have tokens. */
async function startMetadataServer (t: Test) {
  const state = { status: 200, text: '', tokenRequests: 0 }
  const server = createServer((request, response) => {
    response.setHeader('metadata-flavor', 'Google')
    if (request.url?.includes('/token') !== true) return response.end('demo')
    state.tokenRequests++
    response.statusCode = state.status
    response.end(state.text)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  environment(t, {
    GCE_METADATA_HOST: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    METADATA_SERVER_DETECTION: undefined,
    GOOGLE_APPLICATION_CREDENTIALS: undefined,
    GOOGLE_CLOUD_PROJECT: 'demo', // Else Google's library asks gcloud for it, which is slow.
    CLOUDSDK_CONFIG: t.testdir({}),
    HOME: t.testdir({})
  })
  return state
}

const {
  googleAuthLibrary: { GoogleAuth }
} = createRequire(createRequire(import.meta.url).resolve('@google-cloud/tasks'))('google-gax') as typeof import('google-gax')

/** A client as the plugin makes it, but for a server on this machine: TLS without certificates, as there is none that it would accept. */
async function grpcClient (t: Test): Promise<CloudTasksClient> {
  const anonymous = { ciphers: 'AECDH-AES128-SHA:@SECLEVEL=0', maxVersion: 'TLSv1.2' } as const
  const service = createSecureServer(anonymous)
  await new Promise<void>(resolve => { service.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { service.close() })
  const auth = new GoogleAuth({ scopes: ['https://www.googleapis.com/auth/cloud-platform'] })
  const channel = credentials.createFromSecureContext(createSecureContext(anonymous), {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined
  })
  const sslCreds = credentials.combineChannelCredentials(channel, credentials.createFromGoogleCredential(await auth.getClient() as never))
  return new CloudTasksClient({ apiEndpoint: 'localhost', port: (service.address() as AddressInfo).port, sslCreds })
}

t.test('a metadata server that rejects a token is blamed as missing credentials, in its own words', async t => {
  for (const [protocol, makeClient] of [['gRPC', grpcClient], ['REST', async () => new CloudTasksClient({ fallback: true })]] as const) {
    for (const status of [404, 403, 400]) {
      t.test(`with ${status} over ${protocol}`, async t => {
        const metadata = await startMetadataServer(t)
        const client = await makeClient(t)
        const app = Fastify()
        t.teardown(async () => {
          await app.close()
          await client.close()
        })
        await app.register(cloudTasks, { tasks, client, ...CLOUD })
        await app.ready()
        Object.assign(metadata, { status, text: 'The service account is disabled.' })
        const error = await app.enqueue('mail', {}).catch(error => error)
        t.equal(error.code, 'FST_TASKS_SEND_FAILED')
        t.match(error.explanation, /: no valid credentials \(UNAUTHENTICATED: .*The service account is disabled\.\)/)
        t.notMatch(error.explanation, /enqueuer|does not know|serviceAccountEmail|queues create|may have taken effect/)
        t.ok(metadata.tokenRequests > 0)
      })
    }
  }
})
