import t from 'tap'
import { FragileStore, httpRequest, parent, queue, startEngine } from '../support/engine-harness.js'

const hour = 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('a name cannot be reused while its task exists and for a while after', async t => {
  const { engine, clock, last } = await startEngine({ taskTombstoneMs: 60_000 })
  await engine.createTask(queue, named('t'))
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS', message: 'Requested entity already exists' })
  await last().answer(200)
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS', message: /existed too recently/ })
  t.throws(() => engine.getTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  await t.rejects(engine.deleteTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  await engine.createQueue(`${parent}/queues/other`)
  await engine.createTask(`${parent}/queues/other`, { name: `${parent}/queues/other/tasks/t`, httpRequest })
  await last().answer(200)
  await clock.advance(59_999)
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  t.throws(() => engine.getTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await engine.close()
})

t.test('every end of a task leaves a tombstone', async t => {
  const { engine, clock, last } = await startEngine()
  await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
  const later = { scheduleAt: clock.now() + 5000 }
  await engine.createTask(queue, named('exhausted'))
  await last().answer(500)
  await clock.advance(100)
  await last().answer(500)
  await engine.createTask(queue, { ...named('deleted'), ...later })
  await engine.deleteTask(`${queue}/tasks/deleted`)
  await engine.createTask(queue, { ...named('purged'), ...later })
  await engine.purgeQueue(queue)
  for (const id of ['exhausted', 'deleted', 'purged']) {
    await t.rejects(engine.createTask(queue, named(id)), { code: 'ALREADY_EXISTS', message: /existed too recently/ }, id)
  }
  await engine.close()
})

t.test('generated ids are remembered only on request', async t => {
  for (const rememberGeneratedNames of [false, true]) {
    const { engine, last } = await startEngine({ rememberGeneratedNames })
    const { name } = await engine.createTask(queue, { httpRequest })
    await last().answer(200)
    t.throws(() => engine.getTask(name), {
      code: 'NOT_FOUND',
      message: rememberGeneratedNames ? /existed recently/ : 'Requested entity was not found.'
    })
    await engine.close()
  }
})

t.test('forgotten names leave the store too', async t => {
  const { engine, clock, store, last } = await startEngine({ taskTombstoneMs: 60_000 })
  for (let i = 0; i < 20; i++) {
    await engine.createTask(queue, named(`t${i}`))
    await last().answer(200)
  }
  const remembered = async (): Promise<number> => [...(await store.load()).tombstones].length
  t.equal(await remembered(), 20)
  await clock.advance(180_000)
  for (let i = 0; i < 3; i++) {
    await engine.createTask(queue, { httpRequest })
    await last().answer(200)
  }
  t.equal(await remembered(), 0)
  await engine.close()
})

t.test('a second task with a name that is being stored waits for the first one\'s result', async t => {
  const { engine, clock, store, errors, attempts } = await startEngine({ store: new FragileStore() })
  let open = () => {}
  const shut = () => { store.gate = new Promise(resolve => { open = resolve }) }

  shut()
  let all = Promise.allSettled([1, 2, 3].map(() => engine.createTask(queue, named('stored'))))
  await clock.settle()
  t.equal(store.calls.includes('putTask'), false)
  t.throws(() => engine.getTask(`${queue}/tasks/stored`), { code: 'NOT_FOUND' }, 'not there before it is stored')
  store.gate = undefined
  open()
  t.match(await all, [
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'ALREADY_EXISTS' } },
    { status: 'rejected', reason: { code: 'ALREADY_EXISTS' } }
  ])
  t.equal(store.calls.filter(call => call === 'putTask').length, 1)

  shut()
  store.broken.add('putTask')
  all = Promise.allSettled([1, 2].map(() => engine.createTask(queue, named('failed'))))
  await clock.settle()
  open()
  store.gate = undefined
  // The second goes on by itself once the first has failed; by then the store works again.
  store.putTask = async function (task) {
    this.broken.delete('putTask')
    return await FragileStore.prototype.putTask.call(this, task)
  }
  t.match(await all, [
    { status: 'rejected', reason: { code: 'UNAVAILABLE', cause: { message: 'putTask broke' } } },
    { status: 'fulfilled' }
  ])
  t.equal(engine.getTask(`${queue}/tasks/failed`).dispatchCount, 1)
  t.strictSame(errors, [], 'its caller has the error')
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test("a deleted task's late result has no effect on a new task of its name", async t => {
  for (const late of [200, 500, 'undelivered'] as const) {
    const answers: Array<(answer: { status: number } | 'undelivered') => void> = []
    const { engine, clock } = await startEngine({
      taskTombstoneMs: 0,
      dispatch: async () => await new Promise(resolve => { answers.push(resolve) })
    })
    await engine.createTask(queue, named('t'))
    await engine.deleteTask(`${queue}/tasks/t`)
    const task = await engine.createTask(queue, { ...named('t'), scheduleAt: clock.now() + 5000 })
    answers[0]!(late === 'undelivered' ? late : { status: late })
    await clock.settle()
    t.strictSame(engine.getTask(task.name), task)
    t.strictSame(engine.counts(queue), { waiting: 1, running: 0 })
    await clock.advance(4999)
    t.equal(answers.length, 1)
    await clock.advance(1)
    t.equal(answers.length, 2)
    answers[1]!({ status: 200 })
    await engine.close()
  }
})

t.test("without settings, names of tasks are free again after an hour, a queue's after 7 days", async t => {
  const { engine, clock, last } = await startEngine()
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await engine.createQueue(`${parent}/queues/gone`)
  await engine.deleteQueue(`${parent}/queues/gone`)
  await clock.advance(hour - 1)
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await clock.advance(7 * 24 * hour - hour - 1)
  await t.rejects(engine.createQueue(`${parent}/queues/gone`), { code: 'FAILED_PRECONDITION' })
  await clock.advance(1)
  await engine.createQueue(`${parent}/queues/gone`)
  await engine.close()
})

t.test("a queue's own setting says for how long names of its tasks cannot be reused", async t => {
  const { engine, clock, last } = await startEngine()
  await engine.updateQueue(queue, { tombstoneTtlSeconds: 7200 })
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await clock.advance(2 * hour - 1)
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await engine.close()
})

t.test('without tombstones, names of tasks and queues are free at once, in the store too', async t => {
  const { engine, store, last } = await startEngine({ taskTombstoneMs: 0, queueTombstoneMs: 0 })
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await engine.createTask(queue, named('t'))
  await engine.deleteTask(`${queue}/tasks/t`)
  await engine.deleteQueue(queue)
  await engine.createQueue(queue)
  t.strictSame([...(await store.load()).tombstones], [])
  await last().answer(200)
  await engine.close()
})

t.test('clear removes all tasks and frees their names, but not those of queues', async t => {
  const { engine, store, last } = await startEngine()
  await engine.createQueue(`${parent}/queues/gone`)
  await engine.deleteQueue(`${parent}/queues/gone`)
  await engine.createTask(queue, named('done'))
  await last().answer(200)
  await engine.createTask(queue, named('running'))
  await engine.clear()
  t.strictSame(engine.counts(queue), { waiting: 0, running: 1 })
  t.throws(() => engine.getTask(`${queue}/tasks/done`), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  const stored = await store.load()
  t.strictSame([...stored.tasks], [])
  t.strictSame([...stored.tombstones].map(({ name }) => name), [`${parent}/queues/gone`])
  await t.rejects(engine.createQueue(`${parent}/queues/gone`), { code: 'FAILED_PRECONDITION' })
  for (const id of ['done', 'running']) await engine.createTask(queue, named(id))
  t.strictSame(engine.counts(queue), { waiting: 0, running: 3 })
})
