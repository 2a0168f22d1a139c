import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import Fastify from 'fastify'
import t from 'tap'
import type { Overview } from '../../lib/console/api/api.js'
import { engineConsole } from '../../lib/console/engine-console.js'
import { createEmulator } from '../../lib/emulator/index.js'
import { Engine } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { HOSTILE } from './console-app.js'
t.test('a console', async t => {
  t.test('of an engine alone has queues and no registry', async t => {
    const engine = new Engine({ store: new MemoryStore(), dispatch: async () => ({ status: 500, text: HOSTILE }) })
    await engine.open()
    const name = 'projects/p/locations/l/queues/q'
    await engine.updateQueue(name)
    const app = Fastify()
    t.teardown(async () => {
      await app.close()
      await engine.close()
    })
    await app.register(engineConsole(engine, { title: 'Emulator' }), { prefix: '/' })
    await app.ready()
    engine.start()
    const task = await engine.createTask(name, {
      httpRequest: { url: 'http://127.0.0.1:1/work', oidcToken: { serviceAccountEmail: 'a@b.c' } }
    })
    await new Promise(resolve => setImmediate(resolve))
    t.match((await app.inject('/api/overview')).json(), { title: 'Emulator', tasks: null, queues: [{ name }] })
    t.match((await app.inject(`/api/task?name=${task.name}`)).json(), {
      url: 'http://127.0.0.1:1/work',
      payload: { kind: 'none' },
      attemptList: [{ result: 500, text: HOSTILE }]
    })
    const { token } = (await app.inject('/api/overview')).json<Overview>()
    const response = await app.inject({
      method: 'POST',
      url: '/api/run',
      headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': token },
      payload: { task: 'x', text: '{}' }
    })
    t.equal(response.statusCode, 501)
  })

  t.test('at the root of an emulator leaves the rest as it is, and does not keep it from closing', async t => {
    const before = process.env.NODE_ENV
    process.env.NODE_ENV = 'production'
    const emulator = createEmulator({
      port: 0,
      queues: ['projects/p/locations/l/queues/q'],
      plugin: engine => async app => {
        await app.register(engineConsole(engine), { prefix: '/' })
      }
    })
    t.teardown(async () => {
      await emulator.close()
      if (before === undefined) delete process.env.NODE_ENV
      else process.env.NODE_ENV = before
    })
    const url = await emulator.listen()
    const name = 'projects/p/locations/l/queues/q'
    t.match(await (await fetch(url)).text(), /<!doctype html>/i)
    const { token, queues } = await (await fetch(`${url}/api/overview`)).json() as Overview
    t.match(queues, [{ name, state: 'RUNNING' }])
    const change = async (headers: Record<string, string>): Promise<number> =>
      (
        await fetch(`${url}/api/queue/pause`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', origin: url, ...headers },
          body: JSON.stringify({ name })
        })
      ).status
    t.equal(await change({}), 403)
    t.equal(await change({ 'x-console-token': token, origin: 'http://elsewhere.example' }), 403)
    t.match(await (await fetch(`${url}/v2/${name}`)).json(), { state: 'RUNNING' })
    t.equal(await change({ 'x-console-token': token }), 200)
    t.match(await (await fetch(`${url}/v2/${name}`)).json(), { state: 'PAUSED' })
    t.match(await (await fetch(`${url}/nowhere`)).json(), { error: { status: 'NOT_FOUND' } }, "in Google's form")

    const [events] = await once(get(`${url}/api/events`), 'response') as [IncomingMessage]
    const ended = once(events.resume(), 'end')
    await emulator.close()
    await ended
  })
})
