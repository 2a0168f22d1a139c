import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { LiveMessage } from '../../lib/console/api/api.js'
import type { RowQuery } from '../../lib/console/history/row-pages.js'
import { TaskConsole, type Subject } from '../../lib/console/task-console.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import type { PluginHandle } from '../../lib/plugin-handle.js'
import type { AttemptWatcher } from '../../lib/worker/watchers.js'
import { httpRequest, parent, queue, startEngine, type EngineHarness } from '../support/engine-harness.js'

const all = (state: RowQuery['state']): RowQuery => ({ queue: undefined, state, pageToken: undefined, limit: 50 })

/** An app with one task in its registry, whose worker's attempts the test reports. */
function registry (deadLetterQueue?: string) {
  const watchers = new Set<AttemptWatcher>()
  const app = {
    app: { tasks: { list: () => [{ name: 'work', path: '/work' }] } },
    config: { project: 'p', location: 'l', deadLetterQueue },
    local: { queueName: (id: string) => `${parent}/queues/${id}` },
    watchers: {
      add (watcher: AttemptWatcher) {
        watchers.add(watcher)
        return () => { watchers.delete(watcher) }
      }
    }
  }
  return { app: app as unknown as PluginHandle, watchers }
}

function consoleOf (subject: Partial<Subject>): TaskConsole {
  return new TaskConsole({ title: 'Shop', engine: undefined, app: undefined, clock: new ManualClock(), history: 100, traceUrl: undefined, ...subject })
}

/** A console of an engine whose attempts the test answers. */
async function watched (t: Test, subject: Partial<Subject> = {}, harness?: EngineHarness) {
  const started = harness ?? await startEngine()
  const { engine, clock, attempts } = started
  t.teardown(async () => {
    const closed = engine.close()
    for (const attempt of attempts) await attempt.answer(200)
    await closed
  })
  const console = consoleOf({ engine, clock, ...subject })
  const add = async (id: string, rest: object = { httpRequest }): Promise<string> => {
    const { name } = await engine.createTask(queue, { name: `${queue}/tasks/${id}`, ...rest })
    await clock.settle()
    return name
  }
  return { ...started, console, add }
}

/** Opens a page, and returns the messages that it has got since the last call. */
function openPage ({ live }: TaskConsole): () => LiveMessage[] {
  const messages: LiveMessage[] = []
  const page = Object.assign(new EventEmitter(), {
    write (text: string) {
      const [, data] = /^event: live\ndata: (.*)\n\n$/.exec(text) ?? []
      if (data !== undefined) messages.push(JSON.parse(data) as LiveMessage)
      return true
    },
    end () {}
  })
  live.join(page as unknown as ServerResponse)
  return () => messages.splice(0)
}

t.test('a console without a server', async t => {
  t.test('shows and counts waiting tasks, those that failed before it began included', async t => {
    const harness = await startEngine()
    const { engine, clock } = harness
    const other = `${parent}/queues/other`
    await engine.updateQueue(other)
    await engine.createTask(queue, { name: `${queue}/tasks/before`, httpRequest })
    await clock.settle()
    await harness.last().answer(500)
    const { console, add } = await watched(t, {}, harness)
    const { tasks: recorded, nextPageToken } = console.tasks(all('retrying'))
    t.strictSame(recorded, [])
    t.strictSame(console.tasks({ ...all('retrying'), pageToken: nextPageToken }).tasks.map(({ id }) => id), ['before'])
    const later = await add('later', { httpRequest, scheduleAt: clock.now() + 5000 })
    t.hasStrict(console.task(later), { state: 'waiting', attempts: 0, attemptList: [] })
    const { timeline, queues, tasks, deadLetters } = console.overview('token')
    t.strictSame([timeline.at(-1)!.waiting, timeline.at(-1)!.arrived], [2, 1])
    t.strictSame(queues!.map(({ name, id, state, waiting }) => [name, id, state, waiting]), [
      [queue, 'q', 'RUNNING', 2], [other, 'other', 'RUNNING', 0]
    ])
    t.strictSame([tasks, deadLetters], [null, null])
    const fresh = await watched(t)
    t.strictSame(fresh.console.tasks(all('retrying')), { tasks: [] })
  })

  t.test('of a cloud has neither queues nor waiting tasks', async t => {
    const { app, watchers } = registry('dead')
    const console = consoleOf({ app })
    const { title, token, history, tasks, queues, deadLetters, timeline } = console.overview('token')
    t.strictSame([title, token, history, tasks, queues, deadLetters], ['Shop', 'token', 100, app.app.tasks.list(), null, 'dead'])
    t.equal(timeline.at(-1)!.waiting, 0)
    t.equal(watchers.size, 1)
    console.close()
    t.equal(watchers.size, 0)
  })

  t.test('of a cloud shows what its worker serves, with the request, and leaves the rest to Cloud Tasks', async t => {
    const { app, watchers } = registry()
    const clock = new ManualClock()
    const console = consoleOf({ app, clock, traceUrl: 'https://x.example/{traceId}' })
    const read = openPage(console)
    const [watcher] = watchers
    const key = { id: 'a', queue: 'q', attempt: 1 }
    const request = { method: 'POST', url: '/work', headers: {}, body: 'text' }
    const name = `${queue}/tasks/a`
    watcher!.started!({ ...key, executionCount: 0, scheduledTime: new Date(1000), previousResponse: undefined }, request)
    t.hasStrict(console.task(name), { state: 'running', task: 'work' })
    const id = 'ab'.repeat(16)
    watcher!.settled({ ...key, traceId: id }, { result: 'failed', error: new Error('no') }, { status: 500, isLast: false })
    t.hasStrict(console.task(name), { state: 'retrying', attemptList: [{ trace: { id, url: `https://x.example/${id}` } }] })
    t.equal(String(console.payload(name)), 'text')
    clock.pass(250)
    t.strictSame(read().map(({ queues, changed }) => [queues, changed.map(({ id, state }) => [id, state])]), [[null, [['a', 'retrying']]]])
    t.equal(console.payload(`${queue}/tasks/none`), undefined)
    t.throws(() => console.task(`${queue}/tasks/none`), { code: 'NOT_FOUND' })
    const calls: Array<() => Promise<unknown>> = [
      async () => await console.runTask(name),
      async () => { await console.deleteTask(name) },
      async () => await console.copyTask(name),
      async () => await console.changeQueue(queue, 'pause')
    ]
    for (const call of calls) await t.rejects(async () => { await call() }, { code: 'FST_TASKS_CONSOLE_REQUEST', statusCode: 501 })
  })

  t.test('of an engine adds what its worker reports about attempts', async t => {
    const { app, watchers } = registry()
    const { console, add, last } = await watched(t, { app })
    const name = await add('a')
    const [watcher] = watchers
    t.equal(watcher!.started, undefined, 'the engine reports when they start')
    watcher!.settled({ id: 'a', queue: 'q', attempt: 1 }, { result: 'dropped', reason: 'no use' }, { status: 200, isLast: true })
    await last().answer(200)
    t.hasStrict(console.task(name), { state: 'dropped', attemptList: [{ dropReason: 'no use' }] })
  })

  t.test('shows the tasks of a registry by name and path, and leaves URLs as they are without one', async t => {
    for (const app of [undefined, registry().app]) {
      const { console, add, clock } = await watched(t, { app })
      const later = { scheduleAt: clock.now() + 5000 }
      for (const [id, url] of [['a', 'http://localhost/work'], ['b', 'http://localhost/gone'], ['c', 'http://other.example/work']] as const) {
        await add(id, { ...later, httpRequest: { url } })
      }
      const rows = console.tasks(all('waiting')).tasks.map(({ id, url, ...rest }) => [id, url, ...('task' in rest ? [rest.task] : [])])
      t.strictSame(rows.sort(), app === undefined
        ? [['a', 'http://localhost/work'], ['b', 'http://localhost/gone'], ['c', 'http://other.example/work']]
        : [['a', '/work', 'work'], ['b', '/gone'], ['c', 'http://other.example/work']])
    }
  })

  t.test('has a task and its payload as long as it is known', async t => {
    const { console, add, last, engine, clock } = await watched(t, { history: 1 })
    const name = await add('a', { httpRequest: { ...httpRequest, body: Buffer.from('text') } })
    t.strictSame([console.task(name).state, String(console.payload(name))], ['running', 'text'])
    t.strictSame(console.task(name).headers, { 'User-Agent': 'Google-Cloud-Tasks' })
    await last().answer(500)
    t.strictSame([console.task(name).state, console.task(name).attemptList.length, String(console.payload(name))], ['retrying', 1, 'text'])
    await clock.advance(100)
    await last().answer(200)
    t.strictSame([console.task(name).state, String(console.payload(name))], ['done', 'text'])
    const bare = await add('bare')
    t.equal(console.payload(bare)!.length, 0)
    await last().answer(200)
    t.equal(console.payload(bare)!.length, 0)
    for (const call of ['task', 'payload'] as const) t.throws(() => console[call](name), { code: 'NOT_FOUND' })
    engine.getTask = () => { throw new Error('broken') }
    for (const call of ['task', 'payload'] as const) t.throws(() => console[call](bare), { message: 'broken' })
  })

  t.test('copies a task as it was created, its origin included', async t => {
    const { console, add, engine, clock } = await watched(t, { app: registry().app })
    await engine.pauseQueue(queue)
    const scheduleAt = clock.now() + 5000
    const body = Buffer.from('text')
    const headers = { own: '1', [ORIGIN_HEADER]: 'e30' }
    for (const [id, task] of [
      ['http', { httpRequest: { ...httpRequest, body, headers }, dispatchDeadlineMs: 20_000 }],
      ['bare', { httpRequest, retryConfig: { maxAttempts: 7 } }],
      ['app', { appEngineHttpRequest: { relativeUri: '/work', httpMethod: 'PUT', headers: { own: '1', 'User-Agent': 'mine' }, body } }]
    ] as const) {
      const name = await add(id, { ...task, scheduleAt })
      const row = (await console.copyTask(name))!
      t.strictSame([row.queue, row.task, row.state], [queue, 'work', 'waiting'])
      t.not(row.name, name)
      const { name: _, createdAt, scheduleAt: due, generatedId, ...copy } = engine.getTask(row.name)
      const { name: given, scheduleAt: later, createdAt: at, ...original } = engine.getTask(name)
      t.strictSame(copy, original)
      t.equal(due, createdAt, 'it is due at once')
    }
    await t.rejects(console.copyTask(`${queue}/tasks/none`), { code: 'NOT_FOUND' })
  })

  t.test('runs and deletes a task, and changes its queue', async t => {
    const { console, add, clock, attempts } = await watched(t, { app: registry().app })
    const name = await add('a', { httpRequest, scheduleAt: clock.now() + 5000 })
    t.hasStrict(await console.runTask(name), { name, task: 'work', state: 'running' })
    await attempts[0]!.answer(500)
    await console.deleteTask(name)
    t.hasStrict(console.task(name), { state: 'deleted', task: 'work', attempts: 1 })
    t.hasStrict(console.tasks(all('ended')).tasks, [{ name, url: '/work' }])
    await add('b', { httpRequest, scheduleAt: clock.now() + 5000 })
    t.hasStrict(await console.changeQueue(queue, 'pause'), { name: queue, id: 'q', state: 'PAUSED', waiting: 1 })
    t.hasStrict(await console.changeQueue(queue, 'resume'), { state: 'RUNNING', waiting: 1 })
    t.hasStrict(await console.changeQueue(queue, 'purge'), { state: 'RUNNING', waiting: 0 })
  })

  t.test('sends an open page the rows that changed, each once and as they are now', async t => {
    const { console, add, engine, clock, attempts } = await watched(t, { app: registry().app })
    await engine.updateQueue(queue, { retryConfig: { minBackoffSeconds: 60 } })
    await add('before', { httpRequest, scheduleAt: clock.now() + 60_000 })
    const read = openPage(console)
    await clock.advance(1000)
    t.strictSame(read(), [], 'what changed before it was open is in the overview')
    const scheduleAt = clock.now() + 60_000
    for (const id of ['a', 'b']) await add(id, { httpRequest, scheduleAt })
    await add('c')
    await engine.runTask(`${queue}/tasks/a`)
    await clock.advance(1000)
    const messages = read()
    const rows = messages.flatMap(({ changed }) => changed)
    t.strictSame(rows.map(({ id, state, url, task }) => [id, state, url, task]), [
      ['b', 'waiting', '/work', 'work'], ['c', 'running', '/work', 'work'], ['a', 'running', '/work', 'work']
    ])
    t.strictSame(messages.map(({ timeline, queues }) => [timeline.length, queues]), [
      [5, [{ name: queue, id: 'q', state: 'RUNNING', waiting: 2, running: 2 }]]
    ])
    await attempts.at(-1)!.answer(500)
    await engine.deleteTask(`${queue}/tasks/b`)
    await clock.advance(0)
    t.strictSame(read().flatMap(({ changed }) => changed.map(({ id, state }) => [id, state])), [['a', 'retrying']], 'b is unknown')
    await engine.pauseQueue(queue)
    await clock.advance(250)
    t.strictSame(read().map(({ queues, changed }) => [queues![0]!.state, changed]), [['PAUSED', []]])
    for (const count of [50, 51, 101]) {
      const ids = Array.from({ length: count }, (_, index) => `${count}-${index}`)
      for (const id of ids) await engine.createTask(queue, { name: `${queue}/tasks/${id}`, httpRequest })
      await clock.advance(250)
      t.strictSame(read().at(-1)!.changed.map(({ id }) => id), ids.slice(-50), 'the latest 50')
    }
  })

  t.test('observes nothing any more once it is closed, and ends the open pages', async t => {
    const { app, watchers } = registry()
    const { console, add, clock, last } = await watched(t, { app })
    const read = openPage(console)
    t.strictSame([watchers.size, console.live.idle], [1, false])
    console.close()
    const name = await add('a')
    await last().answer(200)
    await clock.advance(1000)
    t.strictSame([watchers.size, console.live.idle, read()], [0, true, []])
    t.strictSame(console.tasks(all('ended')), { tasks: [] })
    t.throws(() => console.task(name), { code: 'NOT_FOUND' })
  })

  t.test('links traces by traceUrl', async t => {
    const id = 'ab'.repeat(16)
    const headers = { 'fastify-cloud-tasks-traceparent': `00-${id}-${'c'.repeat(16)}-01` }
    for (const [traceUrl, trace] of [
      [undefined, { id }],
      ['https://x.example/{traceId}?id={traceId}', { id, url: `https://x.example/${id}?id=${id}` }]
    ] as const) {
      const { console, add } = await watched(t, { traceUrl })
      t.strictSame(console.task(await add('a', { httpRequest: { ...httpRequest, headers } })).trace, trace)
      t.notOk('trace' in console.task(await add('b')))
    }
  })
})
