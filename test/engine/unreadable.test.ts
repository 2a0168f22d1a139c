import t from 'tap'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { httpRequest, queue, startEngine } from '../support/engine-harness.js'

const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('a task that the store has lost is reported, not dispatched', async t => {
  const { engine, clock, store, errors, attempts, last } = await startEngine()
  const { name } = await engine.createTask(queue, { ...named('lost'), scheduleAt: clock.now() + 1000 })
  await store.removeTask(name)
  await clock.advance(1000)
  t.equal(attempts.length, 0)
  t.match(errors, [{ message: /has lost task/ }])
  t.strictSame(engine.counts(queue), { waiting: 0, running: 0 })

  const unreadable = await engine.createTask(queue, { ...named('unreadable'), scheduleAt: clock.now() + 1000 })
  store.getTask = () => { throw new Error('bad record') }
  await clock.advance(1000)
  t.match(errors[1], { message: 'bad record' })
  store.getTask = MemoryStore.prototype.getTask
  await clock.advance(1000)
  t.equal(last().task.name, unreadable.name, 'tried again after a second')
  await last().answer(200)
  await engine.close()
})

t.test('a task whose record is damaged is tried again after a minute, and other tasks go on', async t => {
  const { engine, clock, store, attempts, errors } = await startEngine({ started: false })
  const { name } = await engine.createTask(queue, named('damaged'))
  await engine.createTask(queue, named('good'))
  store.getTask = task => {
    if (task === name) throw Object.assign(new Error('bad checksum'), { problem: 'damaged' })
    return MemoryStore.prototype.getTask.call(store, task)
  }
  engine.start()
  t.strictSame(attempts.map(({ task }) => task.name), [`${queue}/tasks/good`])
  await t.rejects(engine.runTask(name), { code: 'NOT_FOUND' })
  t.strictSame(errors.map(error => (error as Error).message), ['bad checksum'])
  t.strictSame(engine.counts(queue), { waiting: 1, running: 1 })
  store.getTask = MemoryStore.prototype.getTask
  await clock.advance(59_999)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts[1]?.task.name, name)
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test('a task that the store has lost is not found, and left out of lists', async t => {
  const { engine, store, errors } = await startEngine({ started: false })
  const { name } = await engine.createTask(queue, named('lost'))
  const kept = await engine.createTask(queue, named('kept'))
  await store.removeTask(name)
  t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
  t.strictSame(engine.listTasks(queue).tasks, [kept])
  t.strictSame(errors, [])
  await engine.close()
})

t.test('a damaged record is left out of lists and reported, and any other error of the store fails them', async t => {
  const { engine, store, errors } = await startEngine({ started: false })
  const { name } = await engine.createTask(queue, named('bad'))
  const kept = await engine.createTask(queue, named('kept'))
  let problem = 'damaged'
  store.getTask = task => {
    if (task === name) throw Object.assign(new Error('bad checksum'), { problem })
    return MemoryStore.prototype.getTask.call(store, task)
  }
  t.strictSame(engine.listTasks(queue), { tasks: [kept] })
  t.strictSame(errors.map(error => (error as Error).message), ['bad checksum'])
  problem = 'closed'
  t.throws(() => engine.listTasks(queue), { message: 'bad checksum', problem: 'closed' })
  await engine.close()
})

t.test('a task that cannot be read for a further attempt stays with the one that runs', async t => {
  const { engine, clock, store, attempts } = await startEngine()
  const { name } = await engine.createTask(queue, named('a'))
  await engine.runTask(name)
  await attempts[0]!.answer(500)
  store.getTask = () => { throw new Error('bad record') }
  await t.rejects(engine.runTask(name), { code: 'NOT_FOUND' })
  store.getTask = MemoryStore.prototype.getTask
  await clock.advance(10_000)
  t.strictSame([attempts.length, engine.counts(queue)], [2, { waiting: 0, running: 1 }])
  await attempts[1]!.answer(500)
  t.equal(attempts.length, 3, 'after which it is due')
  await attempts[2]!.answer(200)
  await engine.close()
})
