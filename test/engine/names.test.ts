import t from 'tap'
import { FragileStore, httpRequest, parent, queue, startEngine } from '../support/engine-harness.js'

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
  t.same(errors, [], 'whoever asked has the error')
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})
