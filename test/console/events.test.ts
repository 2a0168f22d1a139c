import { get, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { systemClock } from '../../lib/clock/clock.js'
import type { LiveMessage } from '../../lib/console/api/api.js'
import { LiveStream } from '../../lib/console/live-stream.js'
import { watchAttempts } from '../support/app.js'
import { queue, serve } from './console-app.js'

t.test('events', async t => {
  const listen = async (
    t: Test,
    app: FastifyInstance
  ): Promise<{ response: IncomingMessage, messages: LiveMessage[], ended: Promise<unknown> }> => {
    if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const request = get({ host: '127.0.0.1', port, path: '/console/api/events' })
    t.teardown(() => request.destroy())
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const messages: LiveMessage[] = []
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const [, data] = /^event: live\ndata: (.*)$/.exec(text.slice(0, end)) ?? []
        if (data !== undefined) messages.push(JSON.parse(data))
        text = text.slice(end + 2)
      }
    })
    response.on('error', () => {}) // Of those that the test cuts.
    return {
      response,
      messages,
      ended: new Promise(resolve => {
        response.on('close', resolve)
      })
    }
  }

  t.test('report changes at most four times a second, and nothing without changes', async t => {
    const attempts = watchAttempts(t)
    const { app, enqueue, write } = await serve(t)
    const { response, messages } = await listen(t, app)
    t.match(response.headers, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': /default-src 'none'/
    })
    const startedAt = Date.now()
    let count = 0
    while (Date.now() - startedAt < 900) {
      await enqueue('greet', { name: 'Ada', times: 1 })
      await attempts.ended(++count)
    }
    await new Promise(resolve => setTimeout(resolve, 400))
    const sent = messages.length
    t.ok(sent >= 3 && sent <= 6, `${sent} messages in 1.3 s for ${count} tasks`)
    t.ok(messages.every(({ changed }) => changed.length <= 50))
    t.match(messages.at(-1)!.changed.at(-1), { task: 'greet', state: 'done' })
    t.equal(messages.at(-1)!.timeline.length, 5)
    t.match(messages.at(-1)!.queues, [{ id: 'default', waiting: 0, running: 0 }, { id: 'slow' }])
    await new Promise(resolve => setTimeout(resolve, 600))
    t.equal(messages.length, sent, 'silence')
    await write('queue/pause', { name: queue('slow') })
    await new Promise(resolve => setTimeout(resolve, 400))
    t.match(messages.at(-1)!.queues, [{}, { id: 'slow', state: 'PAUSED' }])
  })

  t.test('end when the server closes, which they do not hold up', async t => {
    const { app } = await serve(t)
    const { ended } = await listen(t, app)
    const before = Date.now()
    await Promise.all([app.close(), ended])
    t.ok(Date.now() - before < 2000)
  })

  t.test('are not queued for a slow page, which is asked to reload', async t => {
    const live = new LiveStream(systemClock, () => ({ pad: 'x'.repeat(1_000_000) }))
    const responses: ServerResponse[] = []
    const server = createServer((_request, response) => {
      responses.push(response)
      response.writeHead(200)
      live.join(response)
    }).listen(0, '127.0.0.1')
    t.teardown(() => {
      live.close()
      server.closeAllConnections()
      server.close()
    })
    await once(server, 'listening')
    const request = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
    const [response] = await once(request, 'response') as [IncomingMessage]
    response.pause()
    for (let round = 0; round < 40 && responses[0]!.writableLength < 1_000_000; round++) {
      live.change()
      await new Promise(resolve => setTimeout(resolve, 260))
    }
    for (let round = 0; round < 3; round++) {
      live.change()
      await new Promise(resolve => setTimeout(resolve, 260))
    }
    t.ok(responses[0]!.writableLength < 2_100_000, `${responses[0]!.writableLength} bytes wait`)
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => { text = (text + chunk).slice(-100) })
    response.resume()
    while (!text.endsWith('event: reload\ndata: {}\n\n')) await once(response, 'data')
    request.destroy()
  })

  t.test('have no HEAD, which would hold a place forever', async t => {
    const { app } = await serve(t)
    t.equal((await app.inject({ method: 'HEAD', url: '/console/api/events' })).statusCode, 404)
    t.equal((await app.inject({ method: 'HEAD', url: '/console/api/overview' })).statusCode, 200)
  })

  t.test('go to a hundred pages and no more', async t => {
    const { app } = await serve(t)
    const pages = [await listen(t, app), ...await Promise.all(Array.from({ length: 99 }, async () => await listen(t, app)))]
    t.ok(pages.every(({ response }) => response.statusCode === 200))
    t.equal((await listen(t, app)).response.statusCode, 503)
  })
})
