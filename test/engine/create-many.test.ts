import t from 'tap'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { FragileStore, httpRequest, queue, startEngine } from '../support/engine-harness.js'

const name = (id: string): string => `${queue}/tasks/${id}`

function ids (results: ReadonlyArray<PromiseSettledResult<Task>>): Array<string | undefined> {
  return results.map(result => result.status === 'fulfilled' ? result.value.name.slice(queue.length + '/tasks/'.length) : undefined)
}

t.test('many tasks are stored by one write, and returned and dispatched in their order', async t => {
  const store = new FragileStore()
  const { engine, attempts, clock } = await startEngine({ store })
  store.calls.length = 0
  const results = await engine.createTasks(queue, ['c', 'a', 'b'].map(id => ({ name: name(id), httpRequest })))
  t.same(store.calls, ['putTasks'])
  t.same(ids(results), ['c', 'a', 'b'])
  await clock.settle()
  t.same(attempts.map(({ task }) => task.name), [name('c'), name('a'), name('b')])
})

t.test('an invalid task among many does not affect the others', async t => {
  const { engine, clock, store } = await startEngine({ store: new FragileStore(), started: false })
  await engine.createTask(queue, { name: name('there'), httpRequest })
  const results = await engine.createTasks(queue, [
    { httpRequest },
    { name: name('there'), httpRequest },
    { name: name('new'), httpRequest },
    { name: name('new'), httpRequest },
    { httpRequest: { ...httpRequest, url: '' } },
    { httpRequest: { ...httpRequest, body: Buffer.alloc(2 ** 20) } },
    { httpRequest, scheduleAt: clock.now() + 40 * 86_400_000 },
    { name: 'none', httpRequest },
    { httpRequest }
  ])
  t.strictSame(results.map(result => result.status === 'fulfilled' ? 'stored' : result.reason.code), [
    'stored', 'ALREADY_EXISTS', 'stored', 'ALREADY_EXISTS', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT',
    'stored'
  ])
  t.equal(engine.counts(queue).waiting, 4)
  store.calls.length = 0
  t.strictSame(await engine.createTasks(queue, []), [])
  t.hasStrict(await engine.createTasks(queue, [{}]), [{ status: 'rejected', reason: { code: 'INVALID_ARGUMENT' } }])
  t.strictSame(store.calls, [], 'nothing is written for them')
  await t.rejects(engine.createTasks(`${queue}-none`, [{ httpRequest }]), { code: 'NOT_FOUND' })
})

t.test('many tasks that the store rejects are all rejected, and their names are free again', async t => {
  const store = new FragileStore()
  const { engine } = await startEngine({ store, started: false })
  const tasks = [{ name: name('a'), httpRequest }, { httpRequest }, { name: name('a'), httpRequest }]
  store.broken.add('putTasks')
  const refused = await engine.createTasks(queue, tasks)
  t.match(refused[0], { status: 'rejected', reason: { code: 'UNAVAILABLE', cause: { message: 'putTasks broke' } } })
  t.match(refused[1], { status: 'rejected', reason: { code: 'UNAVAILABLE' } })
  t.match(refused[2], { status: 'fulfilled', value: { name: name('a') } }, 'stored by itself, after the first one was refused')
  await engine.deleteTask(name('a'))
  store.broken.clear()
  t.match(await engine.createTasks(queue, tasks), [{ reason: { code: 'ALREADY_EXISTS' } }, { status: 'fulfilled' }, { status: 'rejected' }])
})

t.test('a name that another call is storing is checked when that call has ended', async t => {
  const store = new FragileStore()
  const { engine } = await startEngine({ store, started: false })
  let open!: () => void
  store.gate = new Promise(resolve => { open = resolve })
  const one = engine.createTask(queue, { name: name('a'), httpRequest })
  const many = engine.createTasks(queue, [{ name: name('a'), httpRequest }, { name: name('b'), httpRequest }])
  const last = engine.createTask(queue, { name: name('b'), httpRequest })
  last.catch(() => {})
  open()
  t.equal((await one).name, name('a'))
  t.match(await many, [{ reason: { code: 'ALREADY_EXISTS' } }, { status: 'fulfilled' }])
  await t.rejects(last, { code: 'ALREADY_EXISTS' })
})
