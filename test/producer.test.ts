import t from 'tap'
import { ManualClock } from '../lib/clock/manual-clock.js'
import { copySuffix } from '../lib/copies/names.js'
import { Producer, taskId } from '../lib/enqueue.js'
import { enqueueMany } from '../lib/enqueue-many.js'
import { enqueueChannel, type EnqueueEvent } from '../lib/events.js'

/** `enqueue` and `delete` over a transport that answers with the next of these outcomes, without an app. */
function produce (sent: unknown[], found: unknown[] = [], read: (text: string) => unknown = () => undefined) {
  const calls: unknown[][] = []
  const lines: object[] = []
  const answer = (name: string, answers: unknown[]) => async (...args: unknown[]) => {
    calls.push([name, ...args])
    return answers.shift()
  }
  const transport = { createTask: answer('create', sent), deleteTask: answer('delete', sent), findTask: answer('find', found) }
  const definition = { path: '/mail', method: 'POST', dispatchDeadlineSeconds: 20 }
  const registry = new Map([
    ['mail', { name: 'mail', ...definition }], ['plain', { name: 'plain', ...definition, dispatchDeadlineSeconds: undefined }]
  ])
  const payloads = { print: (_: unknown, payload: unknown) => JSON.stringify(payload), read: (_: unknown, text: string) => read(text) }
  const config = { queue: 'default', deadLetterQueue: 'dead', target: { type: 'http' } }
  const log = { warn: (fields: object) => { lines.push(fields) } }
  const producer = new Producer(registry as never, config as never, payloads as never, transport as never, new ManualClock(), log as never)
  return { producer, calls, lines }
}

t.test('an outcome of the transport', async t => {
  const cause = new Error('no')
  for (const [outcome, code] of [
    [{ outcome: 'queueNotFound', hint: 'create it', cause }, 'FST_TASKS_QUEUE_NOT_FOUND'],
    [{ outcome: 'tooLarge', bytes: 7, limit: 5 }, 'FST_TASKS_TOO_LARGE'],
    [{ outcome: 'closing' }, 'FST_TASKS_CLOSING'],
    [{ outcome: 'failed', problem: 'no luck', cause }, 'FST_TASKS_SEND_FAILED']
  ] as const) {
    t.test(`${outcome.outcome} rejects enqueue and delete with ${code}`, async t => {
      const { producer } = produce([outcome, outcome, outcome, { outcome: 'notFound' }, outcome], [{ outcome: 'found', id: 'copy' }])
      const enqueued = [producer.enqueue('mail', {}), producer.enqueue('mail', {}, { id: 'a' })]
      for (const call of [...enqueued, producer.delete('mail', 'a b'), producer.delete('mail', 'a b')]) {
        const error = await call.then(() => undefined, reason => reason)
        t.equal(error.code, code)
        t.equal(error.cause, 'cause' in outcome ? cause : undefined)
      }
    })
  }

  t.test('duplicate is a result for a chosen id only, at the time of the call', async t => {
    const duplicate = { outcome: 'duplicate' }
    const { producer } = produce([duplicate, duplicate, duplicate])
    const now = Date.parse('2030-01-01T00:00:00Z')
    const result = { id: taskId('mail', 'a'), name: 'mail', queue: 'default', duplicate: true }
    t.strictSame(await producer.enqueue('mail', {}, { id: 'a' }), { ...result, scheduleTime: new Date(now) })
    const delayed = await producer.enqueue('mail', {}, { id: 'a', scheduleDelaySeconds: 1.5 })
    t.strictSame(delayed, { ...result, scheduleTime: new Date(now + 1500) })
    await t.rejects(producer.enqueue('mail', {}), { code: 'FST_TASKS_SEND_FAILED' })
  })
})

t.test('the task that is sent has the deadline of the call or else of its definition', async t => {
  const created = { outcome: 'created', id: '1', scheduleAt: 5 }
  const { producer, calls } = produce([created, created, created])
  t.strictSame(await producer.enqueue('mail', { a: 1 }), { id: '1', name: 'mail', queue: 'default', scheduleTime: new Date(5), duplicate: false })
  await producer.enqueue('mail', {}, { dispatchDeadlineSeconds: 30, id: 'a', queue: 'fast', headers: { 'x-a': 'b' }, scheduleTime: new Date(7) })
  const headers = { 'content-type': 'application/json', 'fastify-cloud-tasks-deadline': '20' }
  t.strictSame(calls[0], ['create', 'default', {
    id: undefined, method: 'POST', path: '/mail', headers, body: Buffer.from('{"a":1}'), scheduleAt: undefined, dispatchDeadlineMs: 20_000
  }])
  const [, queue, sent] = calls[1] as [string, string, { headers: Record<string, string> }]
  t.equal(queue, 'fast')
  t.hasStrict(sent, { id: taskId('mail', 'a'), scheduleAt: 7, dispatchDeadlineMs: 30_000 })
  t.hasStrict(sent.headers, { 'x-a': 'b', 'content-type': 'application/json', 'fastify-cloud-tasks-deadline': '30' })
  await producer.enqueue('plain', {})
  const plain = calls[2]![2] as { headers: object, dispatchDeadlineMs: unknown }
  t.strictSame([plain.headers, plain.dispatchDeadlineMs], [{ 'content-type': 'application/json' }, undefined])
  t.equal(Object.keys(sent.headers).length, 4, 'and a header that distinguishes it from a later task of the same id')
})

t.test('a task is sent once its payload was validated, also asynchronously, and otherwise not at all', async t => {
  const wrong = new Error('wrong')
  for (const fail of [() => { throw wrong }, async () => { throw wrong }]) {
    const { producer, calls } = produce([], [], fail)
    await t.rejects(producer.enqueue('mail', {}), wrong)
    t.strictSame(calls, [])
  }
  let valid = (): void => {}
  const { producer, calls } = produce([{ outcome: 'created', id: '1', scheduleAt: 5 }], [], async () => {
    await new Promise<void>(resolve => { valid = resolve })
  })
  const enqueued = producer.enqueue('mail', { a: 1 })
  await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(calls, [])
  valid()
  t.equal((await enqueued).id, '1')
  t.equal(String((calls[0]![2] as { body: Buffer }).body), '{"a":1}')
})

t.test('an id is a hash of task and key, and up to 400 readable characters of the key', async t => {
  t.equal(taskId('mail', 'order 42/é'), '8ad2cccd0f2ab2cd26054859dbc7b657-order-42-')
  t.equal(taskId('mail', 'x'.repeat(500)).slice(32), `-${'x'.repeat(400)}`)
  t.equal(taskId('mail', '  a__b--c. d').slice(32), '--a__b--c-d')
})

t.test('two tasks with one id have different lives, and a task without an id has none', async t => {
  const created = { outcome: 'created', id: '1', scheduleAt: 5 }
  const { producer, calls } = produce([created, created, created])
  for (const options of [{ id: 'a' }, { id: 'a' }, {}]) await producer.enqueue('mail', {}, options)
  const lives = calls.map(([,, task]) => (task as { headers: Record<string, string> }).headers['fastify-cloud-tasks-life'])
  t.equal(new Set(lives).size, 3)
  t.equal(lives[2], undefined)
  t.match(lives[0], /^[0-9a-f-]{36}$/)
})

t.test('headers of a subscriber are added to those of the task, and replace none, however it is written', async t => {
  const { producer, calls } = produce([{ outcome: 'created', id: '1', scheduleAt: 5 }, { outcome: 'created', id: '2', scheduleAt: 5 }])
  const queues: string[] = []
  const asked: unknown[] = []
  let added: Record<string, string> | undefined = { 'X-Own': 'added', 'CONTENT-type': 'added', 'x-new': 'added', 'x-ne': 'added' }
  const begin = (event: unknown): void => {
    queues.push((event as EnqueueEvent).queue);
    (event as EnqueueEvent).headersOf = task => { asked.push(task); return added }
  }
  enqueueChannel.start.subscribe(begin)
  t.teardown(() => { enqueueChannel.start.unsubscribe(begin) })
  await producer.enqueue('plain', 7, { headers: { 'x-own': 'mine' }, queue: 'fast' })
  added = undefined
  await producer.enqueue('plain', {})
  t.strictSame(calls.map(([,, task]) => (task as { headers: object }).headers), [
    { 'x-own': 'mine', 'content-type': 'application/json', 'x-new': 'added', 'x-ne': 'added' }, { 'content-type': 'application/json' }
  ])
  t.strictSame(asked, [{ queue: 'fast', id: undefined, bodySize: 1 }, { queue: 'default', id: undefined, bodySize: 2 }])
  for (const queue of ['a_b', '', 5, null]) await t.rejects(producer.enqueue('plain', {}, { queue } as never))
  t.strictSame(queues, ['fast', 'default', 'default', 'default', 'default', 'default'], 'a queue that cannot be is not published')
})

t.test('delete', async t => {
  const [deleted, notFound] = [{ outcome: 'deleted' }, { outcome: 'notFound' }]

  t.test('tries the chosen id, then the id of the task, then a copy of either', async t => {
    const { producer, calls } = produce([notFound, notFound, deleted], [{ outcome: 'found', id: 'copy' }])
    t.equal(await producer.delete('mail', 'a'), true)
    const ids = [taskId('mail', 'a'), 'a']
    t.strictSame(calls, [
      ['delete', 'default', ids[0]], ['delete', 'default', 'a'], ['find', 'default', ids.map(copySuffix)], ['delete', 'default', 'copy']
    ])
  })

  t.test('looks for a copy three times at most, as it may run and be postponed again', async t => {
    const { producer, calls } = produce(Array(9).fill(notFound), Array(9).fill({ outcome: 'found', id: 'copy' }))
    t.equal(await producer.delete('mail', 'not an id'), false)
    t.equal(calls.filter(([name]) => name === 'find').length, 3)
  })

  t.test('looks for no copy where that is not wanted, and ends where there is none', async t => {
    const without = produce([notFound])
    t.equal(await without.producer.delete('mail', 'not an id', { copies: false }), false)
    t.equal(without.calls.length, 1)
    const none = produce([notFound], [notFound])
    t.equal(await none.producer.delete('mail', 'not an id'), false)
    t.strictSame([none.calls.length, none.lines], [2, []])
  })

  t.test('logs a search that is incomplete', async t => {
    const { producer, lines } = produce([notFound], [{ outcome: 'unknown', problem: 'too many' }])
    t.equal(await producer.delete('mail', 'not an id', { queue: 'fast' }), false)
    t.strictSame(lines, [{ task: 'mail', queue: 'fast', problem: 'too many' }])
  })

  t.test('rejects the dead-letter queue, and so does enqueue', async t => {
    const { producer, calls } = produce([])
    const code = 'FST_TASKS_INVALID_ENQUEUE_OPTION'
    await t.rejects(producer.delete('mail', 'a', { queue: 'dead' }), { code })
    await t.rejects(producer.enqueue('mail', {}, { queue: 'dead' }), { code })
    t.strictSame(calls, [])
  })
})

t.test('the limits of options are inclusive', async t => {
  const now = Date.parse('2030-01-01T00:00:00Z')
  const month = 2_592_000
  for (const [accepted, rejected] of [
    [{ id: 'x'.repeat(500) }, { id: 'x'.repeat(501) }],
    [{ scheduleDelaySeconds: 0 }, { scheduleDelaySeconds: -0.001 }],
    [{ scheduleDelaySeconds: month }, { scheduleDelaySeconds: month + 0.001 }],
    [{ scheduleTime: new Date(now + month * 1000) }, { scheduleTime: new Date(now + month * 1000 + 1) }],
    [{ dispatchDeadlineSeconds: 15 }, { dispatchDeadlineSeconds: 14.999 }],
    [{ dispatchDeadlineSeconds: 1800 }, { dispatchDeadlineSeconds: 1800.001 }],
    [{ headers: { x: '\t ~' } }, { headers: { x: '\x7f' } }],
    [{ headers: { "!#$%&'*+.^_`|~-": '' } }, { headers: { '': '' } }],
    [{ headers: { 'x-a': '' } }, { headers: { 'x a': '' } }],
    [{ headers: { 'x-a': '' } }, { headers: { 'x-a\n': '' } }],
    [{ headers: undefined }, { headers: null }]
  ]) {
    const { producer } = produce([{ outcome: 'created', id: '1', scheduleAt: 5 }])
    t.equal((await producer.enqueue('mail', {}, accepted as never)).id, '1')
    await t.rejects(producer.enqueue('mail', {}, rejected as never), { code: 'FST_TASKS_INVALID_ENQUEUE_OPTION' })
  }
})

/** `enqueueMany` over a transport that stores all of a queue's tasks with one call, or each with its own. */
function produceMany ({ chunks = true, concurrency = 2, read = (): unknown => undefined } = {}) {
  const calls: unknown[][] = []
  const running = { now: 0, most: 0 }
  const sent = (body: Buffer) => {
    const text = String(body)
    return text === '"late"' ? { outcome: 'closing' } : { outcome: 'created', id: text, scheduleAt: 5 }
  }
  const createTasks = async (queue: string, tasks: Array<{ body: Buffer }>) => {
    calls.push([queue, ...tasks.map(({ body }) => String(body))])
    return tasks.map(({ body }) => sent(body))
  }
  const transport: { createTask: unknown, createTasks: unknown } = {
    async createTask (queue: string, { body }: { body: Buffer }) {
      calls.push([queue, String(body)])
      running.most = Math.max(running.most, ++running.now)
      await Promise.resolve()
      running.now--
      return sent(body)
    },
    createTasks: chunks ? createTasks : undefined
  }
  const task = { name: 'mail', path: '/mail', method: 'POST' }
  const { producer } = produce([], [], read)
  const run = (items: unknown) => enqueueMany({ producer, transport: transport as never, concurrency }, task as never, items)
  return { run, calls, running, transport }
}

/** The id or the code of each. */
const briefly = (results: Awaited<ReturnType<typeof enqueueMany>>) =>
  results.map(result => result.status === 'fulfilled' ? result.value.id : result.reason.code)

t.test('enqueueMany', async t => {
  const items = [{ payload: 1 }, { payload: 2, queue: 'fast' }, { id: 'a' }, 4, { payload: 'late' }, { payload: 6, queue: 'fast' }]
  const invalid = 'FST_TASKS_INVALID_ENQUEUE_OPTION'
  const results = ['1', '2', invalid, invalid, 'FST_TASKS_CLOSING', '6']

  t.test('stores the tasks of each queue with one call where the transport can', async t => {
    const { run, calls } = produceMany()
    t.strictSame(briefly(await run(items)), results)
    t.strictSame(calls, [['default', '1', '"late"'], ['fast', '2', '6']])
  })

  t.test('has no more calls under way than its concurrency where each task is a call', async t => {
    const { run, calls, running } = produceMany({ chunks: false })
    t.strictSame(briefly(await run(items)), results)
    t.strictSame(calls, [['default', '1'], ['fast', '2'], ['default', '"late"'], ['fast', '6']])
    t.strictSame(running, { now: 0, most: 2 })
  })

  t.test('sends each task on its own once the transport has no call for many any more', async t => {
    const { run, calls, transport } = produceMany()
    const read = function * () { yield * items; transport.createTasks = undefined }
    t.strictSame(briefly(await run(read())), results)
    t.equal(calls.length, 4)
  })

  t.test('rejects what is not a list, and with the error of a list that breaks after sending what came before', async t => {
    for (const chunks of [true, false]) {
      const { run, calls } = produceMany({ chunks })
      for (const wrong of [undefined, null, 5, 'text', {}]) await t.rejects(run(wrong), { code: invalid })
      const broken = function * () { yield { payload: 1 }; throw new RangeError('broken') }
      await t.rejects(run(broken()), { name: 'RangeError' })
      t.strictSame(calls, [['default', '1']])
      t.strictSame(await run([]), [])
      let reads = 0
      const next = () => { if (++reads > 1) return { done: true }; throw new RangeError('broken') }
      await t.rejects(produceMany({ chunks, concurrency: 1 }).run({ [Symbol.iterator]: () => ({ next }) }), { name: 'RangeError' })
      t.equal(reads, 1, 'and reads no further')
    }
  })

  t.test('stores 500 tasks with a call, and fewer where they have 1 MiB', async t => {
    const sizes = async (count: number, payload: unknown) => {
      const { run, calls } = produceMany()
      t.equal((await run(Array.from({ length: count }, () => ({ payload })))).length, count)
      return calls.map(({ length }) => length - 1).filter(length => length > 0)
    }
    t.strictSame(await sizes(1000, 1), [500, 500])
    t.strictSame(await sizes(501, 1), [500, 1])
    t.strictSame(await sizes(3, 'x'.repeat(512 * 1024 - 2)), [2, 1])
    t.strictSame(await sizes(3, 'x'.repeat(512 * 1024 - 3)), [3])
  })

  t.test('reads and checks the next tasks during a write, and has one write under way', async t => {
    let [begun, open] = [() => {}, () => {}]
    const written = new Promise<void>(resolve => { begun = resolve })
    const opened = new Promise<void>(resolve => { open = resolve })
    const { run, transport } = produceMany()
    const { createTasks } = transport as { createTasks (queue: string, tasks: unknown[]): Promise<unknown[]> }
    const running = { now: 0, most: 0 }
    transport.createTasks = async (queue: string, tasks: unknown[]) => {
      running.most = Math.max(running.most, ++running.now)
      begun()
      await opened
      running.now--
      return await createTasks(queue, tasks)
    }
    let reads = 0
    const items = function * () { for (; reads < 2000; reads++) yield { payload: reads } }
    const ended = run(items())
    await written
    for (let turn = 0; turn < 5; turn++) await new Promise(resolve => { setImmediate(resolve) })
    t.equal(reads, 999)
    open()
    t.equal((await ended).length, 2000)
    t.strictSame(running, { now: 0, most: 1 })
  })

  t.test('has no more asynchronous validations under way than its concurrency, and each item fails alone', async t => {
    for (const chunks of [true, false]) {
      const running = { now: 0, most: 0, count: 0 }
      const { run } = produceMany({
        chunks,
        concurrency: 3,
        async read () {
          const own = ++running.count
          running.most = Math.max(running.most, ++running.now)
          await new Promise(resolve => { setImmediate(resolve) })
          running.now--
          if (own === 2 || own === 8) throw Object.assign(new Error('wrong'), { code: 'WRONG' })
        }
      })
      const results = briefly(await run(Array.from({ length: 8 }, (_, n) => ({ payload: n }))))
      t.strictSame(results, ['0', 'WRONG', '2', '3', '4', '5', '6', 'WRONG'])
      t.strictSame(running, { now: 0, most: 3, count: 8 })
    }
  })

  t.test('waits for the validations of what came before its source broke', async t => {
    const { run, calls } = produceMany({ concurrency: 9, read: async () => { await new Promise(resolve => { setImmediate(resolve) }) } })
    const broken = function * () { yield { payload: 1 }; yield { payload: 2 }; throw new RangeError('broken') }
    await t.rejects(run(broken()), { name: 'RangeError' })
    t.strictSame(calls, [['default', '1', '2']])
  })

  t.test('yields to the event loop between writes, even where the transport does not', async t => {
    let turns = 0
    const count = (): void => { turns++; immediate = setImmediate(count) }
    let immediate = setImmediate(count)
    t.teardown(() => { clearImmediate(immediate) })
    await produceMany().run(Array.from({ length: 1600 }, () => ({ payload: 1 })))
    t.ok(turns >= 2)
  })
})
