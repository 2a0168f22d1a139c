import { EventEmitter, once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { systemClock } from '../../lib/clock/clock.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { LiveMessage, TaskRow } from '../../lib/console/api/api.js'
import { LiveStream } from '../../lib/console/live-stream.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { queue, serve } from './console-app.js'

const LIVE = 'event: live\ndata: {}\n\n'
const RELOAD = 'event: reload\ndata: {}\n\n'
const BEAT = ': \n\n'

/** The response of an open page. While `isSlow`, what is written waits until the test emits `drain`. */
class Page extends EventEmitter {
  readonly #written: string[] = []
  isSlow = false
  ended = false

  write (text: string): boolean {
    this.#written.push(text)
    return !this.isSlow
  }

  end (): void {
    this.ended = true
  }

  /** What was written since the last call. */
  read (): string[] {
    return this.#written.splice(0)
  }
}

t.test('a stream of events', async t => {
  const open = (count = 1) => {
    const clock = new ManualClock()
    const made: number[] = []
    const live = new LiveStream(clock, () => {
      made.push(clock.monotonic())
      return {}
    })
    const join = (): Page => {
      const page = new Page()
      live.join(page as unknown as ServerResponse)
      return page
    }
    return { clock, live, made, join, pages: Array.from({ length: count }, join) }
  }

  t.test('sends a change at once, and later changes at most four times a second', async t => {
    const { clock, live, made, pages: [page] } = open()
    clock.pass(100)
    t.strictSame(page!.read(), ['retry: 1000\n\n'])
    live.change()
    live.change()
    t.strictSame(page!.read(), [], 'what changes in one turn is one message')
    clock.pass(0)
    t.strictSame(page!.read(), [LIVE])
    clock.pass(10)
    live.change()
    live.change()
    clock.pass(239)
    t.strictSame(page!.read(), [])
    clock.pass(1)
    t.strictSame(page!.read(), [LIVE])
    clock.pass(5000)
    t.strictSame(page!.read(), [], 'nothing is sent without a change')
    live.change()
    clock.pass(0)
    t.strictSame(page!.read(), [LIVE])
    t.strictSame(made, [100, 350, 5350])
  })

  t.test('makes a message once for all pages, and none without a page', async t => {
    const { clock, live, made, pages } = open(3)
    t.equal(live.idle, false)
    live.change()
    clock.pass(0)
    t.strictSame(pages.map(page => page.read().at(-1)), [LIVE, LIVE, LIVE])
    t.equal(made.length, 1)
    live.change()
    for (const page of pages) page.emit('close')
    t.equal(live.idle, true)
    clock.pass(250)
    live.change()
    t.equal(clock.pending, 0)
    t.equal(made.length, 1)
  })

  t.test('sends a heartbeat every 15 seconds while a page is open', async t => {
    const { clock, join, pages: [first] } = open()
    clock.pass(1000)
    const second = join()
    clock.pass(13_999)
    t.strictSame([first!.read(), second.read()], [['retry: 1000\n\n'], ['retry: 1000\n\n']])
    clock.pass(1)
    t.strictSame([first!.read(), second.read()], [[BEAT], [BEAT]])
    first!.emit('error', new Error('cut'))
    clock.pass(15_000)
    t.strictSame([first!.read(), second.read()], [[], [BEAT]])
    second.emit('close')
    t.equal(clock.pending, 0)
    const third = join()
    third.read()
    clock.pass(30_000)
    t.strictSame(third.read(), [BEAT, BEAT])
  })

  t.test('skips messages for a slow page, and asks it to reload when it has caught up', async t => {
    const { clock, live, pages: [slow, fast] } = open(2)
    for (const page of [slow, fast]) page!.read()
    slow!.isSlow = true
    const change = (): void => {
      live.change()
      clock.pass(250)
    }
    change()
    slow!.emit('drain')
    t.strictSame(slow!.read(), [LIVE], 'it has missed nothing')
    for (let count = 0; count < 3; count++) change()
    clock.pass(15_000)
    t.strictSame(slow!.read(), [LIVE])
    t.strictSame(fast!.read(), [LIVE, LIVE, LIVE, LIVE, BEAT])
    slow!.emit('drain')
    t.strictSame(slow!.read(), [RELOAD])
    change()
    t.strictSame(slow!.read(), [], 'it has not even accepted the last message')
    slow!.isSlow = false
    slow!.emit('drain')
    change()
    slow!.emit('drain')
    t.strictSame(slow!.read(), [RELOAD, LIVE])
  })

  t.test('accepts a hundred pages', async t => {
    const { live, join, pages } = open(99)
    t.equal(live.full, false)
    join()
    t.equal(live.full, true)
    pages[0]!.emit('close')
    t.equal(live.full, false)
  })

  t.test('ends all pages when it is closed, accepts no further ones, and keeps no timer', async t => {
    const { clock, live, made, pages } = open(2)
    live.change()
    live.close()
    t.strictSame(pages.map(({ ended }) => ended), [true, true])
    t.strictSame([live.full, live.idle, clock.pending], [true, true, 0])
    live.change()
    clock.pass(60_000)
    t.strictSame(made, [])
  })
})

/** Opens the events of an app at `/console`. */
async function openEvents (app: FastifyInstance) {
  const response = await app.inject({ url: '/console/api/events', payloadAsStream: true })
  const messages: LiveMessage[] = []
  const stream = response.stream().setEncoding('utf8').on('data', (chunk: string) => {
    for (const [, data] of chunk.matchAll(/^event: live\ndata: (.*)\n\n/gm)) messages.push(JSON.parse(data!))
  })
  return { response, messages, ended: once(stream, 'end') }
}

t.test('the events of an app', async t => {
  t.test('are its changed tasks, its queues and the last seconds, until the server closes', async t => {
    const { app, enqueue, read, write } = await serve(t)
    const clock = new ManualClock()
    handleOf(app)!.clock.switchTo(clock)
    const { response, messages, ended } = await openEvents(app)
    t.strictSame(
      ['content-type', 'cache-control', 'x-accel-buffering', 'x-content-type-options'].map(name => response.headers[name]),
      ['text/event-stream; charset=utf-8', 'no-store', 'no', 'nosniff']
    )
    t.ok(response.headers['content-security-policy'])

    const { id } = await enqueue('greet', { name: 'Ada', times: 1 })
    while ((await read<TaskRow>(`task?name=${queue('default')}/tasks/${id}`)).state !== 'done') await clock.turn()
    await clock.advance(0)
    const { now, changed, queues, timeline } = messages[0]!
    t.hasStrict(changed, [{ id, task: 'greet', url: '/tasks/greet', state: 'done', attempts: 1, lastResult: 204 }])
    t.strictSame(queues, [
      { name: queue('default'), id: 'default', state: 'RUNNING', waiting: 0, running: 0 },
      { name: queue('slow'), id: 'slow', state: 'RUNNING', waiting: 0, running: 0 }
    ])
    t.equal(now, clock.now())
    t.strictSame(timeline.map(({ at, succeeded }) => [at - now, succeeded]), [[-4000, 0], [-3000, 0], [-2000, 0], [-1000, 0], [0, 1]])

    await clock.advance(10_000)
    t.equal(messages.length, 1, 'nothing is sent without a change')
    await write('queue/pause', { name: queue('slow') })
    await clock.advance(0)
    t.strictSame(messages[1]!.changed, [])
    t.strictSame(messages[1]!.queues!.map(({ state }) => state), ['RUNNING', 'PAUSED'])
    handleOf(app)!.clock.switchTo(systemClock)
    await app.close()
    await ended
  })

  t.test('are the 50 tasks that changed last, when more have changed', async t => {
    const { app, enqueue } = await serve(t)
    const clock = new ManualClock()
    handleOf(app)!.clock.switchTo(clock)
    const { messages } = await openEvents(app)
    const ids: string[] = []
    const add = async (count: number): Promise<void> => {
      for (let left = count; left > 0; left--) ids.push((await enqueue('later', {}, { scheduleDelaySeconds: 100 })).id)
      await clock.advance(250)
    }
    for (const count of [1, 50, 51, 120]) {
      await add(count)
      t.strictSame(messages.at(-1)!.changed.map(({ id }) => id), ids.splice(0).slice(-50), String(count))
    }
    t.hasStrict(messages.at(-1)!.changed[0], { task: 'later', state: 'waiting', attempts: 0 })
    handleOf(app)!.clock.switchTo(systemClock)
  })

  t.test('have no HEAD, which would hold a place forever', async t => {
    const { app } = await serve(t)
    t.equal((await app.inject({ method: 'HEAD', url: '/console/api/events' })).statusCode, 404)
    t.equal((await app.inject({ method: 'HEAD', url: '/console/api/overview' })).statusCode, 200)
  })

  t.test('go to a hundred pages and no more', async t => {
    const { app } = await serve(t)
    const pages = await Promise.all(Array.from({ length: 100 }, async () => (await openEvents(app)).response.statusCode))
    t.strictSame([...new Set(pages)], [200])
    const { statusCode, body } = await app.inject('/console/api/events')
    t.equal(statusCode, 503)
    t.equal(JSON.parse(body).error.code, 'FST_TASKS_CONSOLE_REQUEST')
  })
})
