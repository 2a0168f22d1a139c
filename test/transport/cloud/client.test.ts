import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { CloudTasksClient, v2beta3 } from '@google-cloud/tasks'
import t, { type Test } from 'tap'
import { ClientSource } from '../../../lib/transport/cloud/client.js'
import { environment } from '../../support/environment.js'

const emulatorHost = '127.0.0.1:1'
const project = 'demo'
const source = (options: object = {}) => new ClientSource({ emulatorHost, project, ...options } as never)

/**
 * Initializes the clients of a class with these results, and collects those that are closed. Closing one whose initialization failed
 * fails, too.
 */
function watch (
  t: Test, { prototype }: { readonly prototype: Pick<CloudTasksClient, 'initialize' | 'close'> }, results: Array<Error | undefined> = []
) {
  const failed = new Set<unknown>()
  const closed: unknown[] = []
  t.intercept(prototype, 'initialize', {
    async value (this: unknown) {
      const result = results.shift()
      if (result === undefined) return {}
      failed.add(this)
      throw result
    }
  })
  t.intercept(prototype, 'close', {
    async value (this: unknown) {
      closed.push(this)
      if (failed.has(this)) throw new Error('it was never open')
    }
  })
  return closed
}

t.test('a client that is created here and finds no credentials is closed, and the next call creates another', async t => {
  const failure = new Error('no credentials')
  const closed = watch(t, CloudTasksClient, [failure])
  const clients = source()
  await t.rejects(clients.open(), { lacks: 'credentials', cause: failure })
  t.equal(closed.length, 1)
  const { client } = await clients.open()
  t.equal(closed.length, 1)
  t.not(client, closed[0])
  await clients.close()
  t.equal(closed[1], client)
})

t.test('the client of v2beta3 is created once, closed with the other, and not kept without credentials', async t => {
  const failure = new Error('no credentials')
  const closed = watch(t, CloudTasksClient)
  const closedBeta = watch(t, v2beta3.CloudTasksClient, [failure])
  const clients = source()
  await t.rejects(clients.openBeta(), { lacks: 'credentials', cause: failure })
  t.equal(closedBeta.length, 1)
  const beta = await clients.openBeta()
  t.strictSame(beta, { client: (await clients.openBeta()).client, project })
  t.equal(beta.client instanceof v2beta3.CloudTasksClient, true)
  t.not(beta.client, closedBeta[0])
  t.equal(closedBeta.length, 1)
  const client = clients.ready!.client
  await clients.close()
  t.strictSame([closed[0] === client, closed.length, closedBeta[1] === beta.client, closedBeta.length], [true, 1, true, 2])
  await clients.close()
  t.strictSame([closed.length, closedBeta.length], [1, 2], 'once')
})

t.test('a client is loaded before its first call, unless one is given', async t => {
  const closed = watch(t, CloudTasksClient)
  const clients = source()
  await clients.load()
  await clients.load()
  t.equal(clients.ready, undefined)
  const { client } = await clients.open()
  await clients.close()
  t.strictSame([closed[0] === client, closed.length], [true, 1])

  const given = { createTask () {} }
  const givenClients = source({ client: given })
  await givenClients.load()
  t.equal((await givenClients.open()).client, given)
  await givenClients.close()
  t.equal(closed.length, 1)
})

t.test('a client for an emulator connects to its host and port', async t => {
  watch(t, CloudTasksClient)
  for (const [emulatorHost, apiEndpoint, port] of [['tasks.local:8123', 'tasks.local', 8123], ['127.0.0.1', '127.0.0.1', 80]] as const) {
    const clients = source({ emulatorHost })
    const { _opts } = (await clients.open()).client as unknown as { _opts: { apiEndpoint: string, port: number } }
    t.strictSame([_opts.apiEndpoint, _opts.port], [apiEndpoint, port])
    await clients.close()
  }
})

t.test('a client whose project is known starts no gcloud to find it', async t => {
  const folder = t.testdir({ 'key.json': JSON.stringify({ type: 'authorized_user', client_id: 'a', client_secret: 'b', refresh_token: 'c' }) })
  const started = join(folder, 'started')
  writeFileSync(join(folder, 'gcloud'), `#!/bin/sh\ntouch '${started}'\nexit 1\n`, { mode: 0o755 })
  environment(t, {
    GOOGLE_APPLICATION_CREDENTIALS: join(folder, 'key.json'),
    GOOGLE_CLOUD_PROJECT: undefined,
    GCLOUD_PROJECT: undefined,
    PATH: `${folder}${delimiter}${process.env['PATH']!}`
  })
  for (const [project, starts] of [['demo', false], [undefined, true]] as const) {
    const clients = source({ emulatorHost: undefined, project })
    await clients.open().catch(() => {})
    t.equal(existsSync(started), starts, `${project}`)
    await clients.close()
  }
  const clients = source({ emulatorHost: undefined })
  rmSync(started)
  await clients.openBeta()
  await clients.close()
  t.equal(existsSync(started), false, 'v2beta3')
})

t.test('a client that cannot be created is reported with the reason', async t => {
  const error = await source({ emulatorHost: 'not a host' }).load().catch((error: unknown) => error) as Error & { code: string }
  t.equal(error.code, 'FST_TASKS_CLIENT_UNAVAILABLE')
  t.equal((error.cause as { code: string }).code, 'ERR_INVALID_URL')
})
