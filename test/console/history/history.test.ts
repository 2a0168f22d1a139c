import t from 'tap'
import { httpRequest, queue } from '../../support/engine-harness.js'
import { watch, names } from '../../support/watched-engine.js'

t.test('a history', async t => {
  t.test('knows how long an attempt took, though the wall clock was set back meanwhile', async t => {
    const { add, history, last, clock, engine } = await watch()
    const name = await add('a')
    await clock.advance(1500)
    clock.set(clock.now() - 3_600_000)
    await last().answer(500)
    const { startedAt, endedAt } = history.record(name)!.detail(last().task).attemptList[0]!
    t.equal(endedAt! - startedAt, 1500)
    await engine.close()
  })

  t.test('forgets an attempt that was not delivered, and its task waits again', async t => {
    const { add, history, last, engine } = await watch()
    const name = await add('a')
    history.undelivered(last())
    t.strictSame(names(history.running.values()), [])
    t.equal(history.record(name), undefined)
    t.equal(history.size, 0)
    await last().answer(200)
    await engine.close()
  })

  t.test('follows a task from its first attempt to its end', async t => {
    const { add, history, last, clock } = await watch()
    const name = await add('a')
    t.same(names(history.running.values()), ['a'])
    t.equal(history.record(name)!.state, 'running')
    await last().answer(500)
    t.equal(history.record(name)!.state, 'retrying')
    t.same(names(history.retrying.values()), ['a'])
    const [attempt] = history.record(name)!.detail(last().task).attemptList
    t.match(attempt, { number: 1, result: 500, retryAt: clock.now() + 100, logs: [], logsOmitted: 0 })
    t.equal(attempt!.headers['X-CloudTasks-TaskRetryCount'], '0')

    await clock.advance(100)
    await last().fail(new Error('no route', { cause: new TypeError('refused') }))
    await clock.advance(200)
    await last().answer(200)
    const record = history.record(name)!
    t.match(record.row(), { state: 'done', attempts: 3, endedAt: clock.now(), lastResult: 200, scheduleAt: undefined })
    const { attemptList, omitted } = record.detail()
    t.same(attemptList.map(({ number, result }) => [number, result]), [[1, 500], [2, 'unreachable'], [3, 200]])
    t.match(attemptList[1]!.error, { message: 'no route', causes: [{ name: 'TypeError', message: 'refused' }] })
    t.equal(attemptList[1]!.headers['X-CloudTasks-TaskPreviousResponse'], '500')
    t.equal(omitted, 0)
    t.same([history.running.size, history.retrying.size, history.past.size], [0, 0, 1])
  })

  t.test('distinguishes dropped, exhausted, deleted, purged and done tasks', async t => {
    const { add, history, engine, clock, last } = await watch()
    const dropped = await add('dropped')
    history.dropped(dropped, 1, 'no such order')
    await last().answer(200)
    t.match(history.record(dropped)!.row(), { state: 'dropped' })
    t.equal(history.record(dropped)!.detail().attemptList[0]!.dropReason, 'no such order')

    const deleted = await add('deleted')
    await engine.deleteTask(deleted)
    t.match(history.record(deleted)!.row(), { state: 'deleted' })
    await last().answer(500)
    t.match(history.record(deleted)!.row(), { state: 'deleted', lastResult: 500 }, 'the result of its attempt is still shown')

    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 1 } })
    const failed = await add('failed')
    await last().answer(500)
    t.match(history.record(failed)!.row(), { state: 'failed' })

    await engine.updateQueue(queue)
    const waits = await add('waits')
    await last().answer(500)
    const runs = await add('runs')
    const attempt = last()
    await engine.purgeQueue(queue)
    await clock.settle()
    t.equal(history.record(waits), undefined)
    t.match(history.record(runs)!.row(), { state: 'running' }, 'an attempt goes on')
    await attempt.answer(200)
    t.match(history.record(runs)!.row(), { state: 'deleted' })

    const never = (await engine.createTask(queue, { name: `${queue}/tasks/never`, httpRequest, scheduleAt: clock.now() + 1000 })).name
    history.remember(engine.getTask(never))
    await engine.deleteTask(never)
    t.match(history.record(never)!.row(), { state: 'deleted', attempts: 0 })
  })

  t.test('of many attempts keeps the first and the latest', async t => {
    const { add, history, clock, last, engine } = await watch()
    await engine.updateQueue(queue, { retryConfig: { maxBackoffSeconds: 1, maxAttempts: -1 } })
    const name = await add('a')
    for (let attempt = 1; attempt < 30; attempt++) {
      await last().answer(500)
      await clock.advance(1000)
    }
    const { attemptList, omitted } = history.record(name)!.detail(last().task)
    t.same(attemptList.map(({ number }) => number), [1, 2, 23, 24, 25, 26, 27, 28, 29, 30])
    t.equal(omitted, 20)
  })

  t.test('keeps the configured number of ended tasks', async t => {
    const { add, history, last } = await watch({ history: 3 })
    for (let id = 0; id < 10; id++) {
      await add(`t${id}`)
      await last().answer(200)
    }
    t.same(names(history.past.values()), ['t7', 't8', 't9'])
    t.equal(history.record(`${queue}/tasks/t6`), undefined)
    t.ok(history.size < 10_000)

    const none = await watch({ history: 0 })
    await none.add('a')
    await none.last().answer(200)
    t.same([none.history.past.size, none.history.size], [0, 0])
  })

  t.test('shows a task that succeeded at once like any other, and accepts later log lines of its handler', async t => {
    const { history, engine, clock, last } = await watch()
    const { name } = await engine.createTask(queue, {
      name: `${queue}/tasks/a`,
      dispatchDeadlineMs: 20_000,
      httpRequest: { ...httpRequest, headers: { 'X-Shop': '7' }, body: Buffer.from('{"n":1}') }
    })
    const startedAt = clock.now()
    await clock.settle()
    const running = history.record(name)!.detail().attemptList
    t.match(running, [{ number: 1, startedAt, endedAt: undefined, result: undefined }])
    await clock.advance(7)
    await last().answer(204)
    const app = await engine.createTask(queue, {
      name: `${queue}/tasks/app`,
      appEngineHttpRequest: { relativeUri: '/work', httpMethod: 'PUT' }
    })
    await clock.settle()
    await last().answer(201)

    const [record, other] = [...history.past.values()]
    t.match(record!.row(), {
      name,
      queue,
      method: 'POST',
      url: httpRequest.url,
      state: 'done',
      attempts: 1,
      lastResult: 204,
      endedAt: startedAt + 7,
      scheduleAt: undefined
    })
    t.match(record!.detail(), { omitted: 0, attemptList: [{ number: 1, startedAt, endedAt: startedAt + 7, result: 204, logs: [] }] })
    t.same(record!.detail().attemptList[0]!.headers, running[0]!.headers)
    t.match(record!.detail().headers, { 'X-Shop': '7' })
    t.same(record!.detail().payload.text, '{"n":1}')
    t.equal(record!.task!.dispatchDeadlineMs, 20_000)
    t.match(other!.row(), { name: app.name, method: 'PUT', url: '/work', lastResult: 201 })
    t.match(other!.detail().attemptList[0]!.headers, { 'X-AppEngine-QueueName': queue.slice(queue.lastIndexOf('/') + 1) })

    const before = history.size
    history.line(name, 1, { at: 1, level: 'warn', message: 'after the answer' })
    t.match(history.record(name)!.detail().attemptList, [{ result: 204, logs: [{ message: 'after the answer' }] }])
    t.ok(history.size > before)
    t.same(names(history.past.values()), ['a', 'app'])
  })

  t.test('has one task of a name: the one that ended last', async t => {
    const { add, history, clock, last, engine } = await watch({ history: 4 })
    await engine.updateQueue(queue, { tombstoneTtlSeconds: 3600 })
    const end = async (id: string, status = 200): Promise<string> => {
      const name = await add(id)
      await last().answer(status)
      return name
    }
    const name = await end('again')
    await end('other')
    await clock.advance(2 * 3600 * 1000)
    history.line(name, 1, { at: 1, level: 'info', message: 'of the first' })
    await end('again', 201)
    t.same(names(history.past.values()), ['other', 'again'])
    t.equal(history.past.size, 2)
    t.match(history.record(name)!.row(), { lastResult: 201 })
    t.same(history.record(name)!.detail().attemptList[0]!.logs, [])
    for (const id of ['b', 'c', 'd', 'e', 'f']) await end(id)
    t.same(names(history.past.values()), ['c', 'd', 'e', 'f'])
    t.equal(history.record(name), undefined)
    const { size } = history
    for (const id of ['g', 'h', 'i', 'j']) await end(id)
    t.equal(history.size, size, 'what is gone counts no more')
  })

  t.test('never exceeds its budget: large payloads, log lines and errors go first, then whole records', async t => {
    const budget = 300_000
    const { add, history, last, engine, clock } = await watch({ budget })
    for (let id = 0; id < 40; id++) {
      const name = await add(`t${id}`, 50_000)
      for (let line = 0; line < 50; line++) history.line(name, 1, { at: 1, level: 'info', message: 'y'.repeat(500) })
      history.failed(name, 1, new Error('z'.repeat(5000)))
      await last().answer(200)
      t.ok(history.size <= budget, `${history.size} after ${id}`)
    }
    t.equal(history.past.size, 40, 'stripped, not forgotten')
    const oldest = history.record(`${queue}/tasks/t0`)!
    t.match(oldest.detail().payload, { bytes: 50_000, cut: true, kind: 'text' })
    t.equal(oldest.detail().payload.text.length, 512)
    t.match(oldest.detail().attemptList[0], { logs: [], logsOmitted: 50, error: { name: 'Error', message: 'z'.repeat(512) } })
    const newest = history.record(`${queue}/tasks/t39`)!
    t.equal(newest.detail().payload.bytes, 50_000)
    t.equal(newest.detail().attemptList[0]!.logs.length, 50)

    for (let id = 40; id < 500; id++) {
      await add(`t${id}`, 10)
      await clock.advance(2)
      await last().answer(200)
    }
    t.ok(history.past.size < 400 && history.past.size > 100, `${history.past.size}`)
    t.ok(history.size <= budget)

    await engine.updateQueue(queue, { retryConfig: { minBackoffSeconds: 3600 } })
    for (let id = 0; id < 600; id++) {
      await add(`failing${id}`)
      await clock.advance(2)
      await last().answer(500)
    }
    t.ok(history.size <= budget)
    t.equal(history.complete, false, 'it knows that it does not have all that wait after a failure')
    const running = await add('running')
    for (let line = 0; line < 1000; line++) history.line(running, 1, 'y'.repeat(4000))
    t.ok(history.size <= budget + 64 * 1024)
  })
})
