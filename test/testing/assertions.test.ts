import { AssertionError } from 'node:assert'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { defineTasks, tasksOf } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { start } from '../support/app.js'

const tasks = defineTasks({
  receipt: {
    payload: Type.Object({
      order: Type.String(),
      email: Type.Optional(Type.String()),
      items: Type.Optional(Type.Array(Type.Object({ id: Type.Integer(), n: Type.Optional(Type.Integer()) }))),
      at: Type.Optional(Type.String())
    })
  },
  charge: { payload: Type.Object({ order: Type.String() }) }
})

async function tested (t: Test) {
  const { app } = await start(t, { tasks, handlers: { charge: () => {} }, queues: { mail: {} } })
  return { kit: testTasks(app, tasks), ...tasksOf(app, tasks) }
}

/** The error of an assertion that fails. */
function failure (assertion: () => unknown): AssertionError {
  try {
    assertion()
  } catch (error) {
    return error as AssertionError
  }
  throw new Error('the assertion holds')
}

t.test('assertEnqueued matches a part of the payload and returns the task', async t => {
  const { kit, enqueue } = await tested(t)
  const items = [{ id: 1, n: 2 }, { id: 2 }]
  await enqueue('receipt', { order: '42', email: 'ada@example.com', items, at: '2030-01-01T00:00:00.000Z' })
  const at = new Date('2030-01-01T00:00:00Z') as never
  for (const part of [undefined, {}, { order: '42' }, { items: [{ id: 1 }, { id: 2 }] }, { at }, { order: '42', email: 'ada@example.com' }]) {
    t.equal(kit.assertEnqueued('receipt', part).payload.order, '42')
  }
  t.equal(kit.assertEnqueued('receipt', ({ items }) => items?.length === 2).name, 'receipt')
  const lists = [{ items: [{ id: 1 }] }, { items: [{ id: 2 }, { id: 1 }] }]
  for (const part of [{ order: '43' }, { order: 42 as never }, ...lists, { email: undefined }, { mail: 'x' } as never, () => false]) {
    t.throws(() => kit.assertEnqueued('receipt', part), { code: 'ERR_ASSERTION' })
    kit.refuteEnqueued('receipt', part)
  }
  t.throws(() => kit.refuteEnqueued('receipt'), { code: 'ERR_ASSERTION' })
  kit.refuteEnqueued('charge')
  // In JavaScript functions return what they like, and matchers of vitest and jest are objects of their own.
  kit.assertEnqueued('receipt', (({ items }: { items: unknown[] }) => items.length) as never)
  kit.refuteEnqueued('receipt', (({ items }: { items: unknown[] }) => items.length - 2) as never)
  const one = (value: unknown) => ({ asymmetricMatch: (actual: unknown) => actual === value }) as never
  kit.assertEnqueued('receipt', { order: one('42'), items: [{ id: 1 }, { id: one(2) }] })
  kit.refuteEnqueued('receipt', { order: one('43') })
  class Order { readonly order = '42' }
  kit.assertEnqueued('receipt', new Order())
})

t.test('assertEnqueued compares id, queue, time, headers and number', async t => {
  const { kit, enqueue } = await tested(t)
  const { id } = await enqueue('charge', { order: '1' }, { id: 'one', queue: 'mail', scheduleDelaySeconds: 60, headers: { 'x-a': '1', 'x-b': '2' } })
  await enqueue('charge', { order: '2' })
  const scheduleTime = new Date(Date.now() + 60_000)
  const headers = { 'x-a': '1' }
  for (const other of [{ id: 'one' }, { id }, { queue: 'mail' }, { scheduleTime }, { headers }, { queue: 'mail', times: 1 }, { times: 2 }]) {
    t.doesNotThrow(() => { kit.assertEnqueued('charge', undefined, other) }, JSON.stringify(other))
  }
  const wrong = { scheduleTime: new Date(Date.now() + 90_000), headers: { 'x-a': '2' } }
  for (const other of [{ id: 'two' }, { queue: 'post' }, wrong, { headers: wrong.headers }, { times: 1 }, { times: 3 }]) {
    t.throws(() => { kit.assertEnqueued('charge', undefined, other) }, { code: 'ERR_ASSERTION' }, JSON.stringify(other))
  }
  kit.refuteEnqueued('charge', { order: '1' }, { queue: 'default' })
})

t.test('a failed assertEnqueued names the closest task, shows how it differs, and lists what is enqueued', async t => {
  const { kit, enqueue } = await tested(t)
  await enqueue('charge', { order: '42' })
  await enqueue('receipt', { order: '41' })
  await enqueue('receipt', { order: '43', email: 'ada@example.com' })
  const error = failure(() => kit.assertEnqueued('receipt', { order: '42', email: 'ada@example.com' }))
  t.ok(error instanceof AssertionError)
  t.equal(error.operator, 'assertEnqueued')
  t.strictSame(error.actual, { payload: { order: '43', email: 'ada@example.com' } })
  t.strictSame(error.expected, { payload: { order: '42', email: 'ada@example.com' } })
  const lines = error.message.replaceAll(/due \S+/g, 'due').split('\n')
  t.equal(lines[0], "Expected a task 'receipt' with { order: '42', email: 'ada@example.com' } to be enqueued, but found none.")
  t.ok(lines.includes('Closest is number 3 below:'))
  t.ok(lines.some(line => /^\+ .*order: '43'/.test(line)) && lines.some(line => /^- .*order: '42'/.test(line)), error.message)
  t.strictSame(lines.slice(-4), [
    '3 tasks enqueued:',
    "  1. charge { order: '42' }, queue 'default', due",
    "  2. receipt { order: '41' }, queue 'default', due",
    "  3. receipt { order: '43', email: 'ada@example.com' }, queue 'default', due"
  ])
  t.match(error.stack?.split('\n').find(line => line.startsWith('    at ')), /assertions\.test\.ts/, 'its stack begins where it was called')
})

t.test('a failed assertEnqueued with a function lists what it was given, without a diff', async t => {
  const { kit, enqueue } = await tested(t)
  await enqueue('charge', { order: '42' })
  const error = failure(() => kit.assertEnqueued('charge', ({ order }) => order === '43'))
  t.strictSame(error.message.replaceAll(/due \S+/g, 'due').split('\n'), [
    "Expected a task 'charge' that the function accepts to be enqueued, but found none.",
    '1 task enqueued:',
    "  1. charge { order: '42' }, queue 'default', due"
  ])
  t.strictSame(error.actual, [{ name: 'charge', payload: { order: '42' } }])
  const queue = failure(() => kit.assertEnqueued('charge', () => true, { queue: 'mail' }))
  t.strictSame([queue.actual, queue.expected], [{ queue: 'default' }, { queue: 'mail' }])
})

t.test('a failed assertEnqueued says that tasks of that name ran already', async t => {
  const { kit, enqueue } = await tested(t)
  t.match(failure(() => kit.assertEnqueued('charge')).message, /found none\.\nNothing is enqueued\.$/)
  await enqueue('charge', { order: '42' })
  await kit.drain()
  t.match(failure(() => kit.assertEnqueued('charge')).message, /Nothing is enqueued\.\n1 task of this name already ended; drain\(\)/)
})

t.test('a failed refuteEnqueued shows what is enqueued all the same', async t => {
  const { kit, enqueue } = await tested(t)
  await enqueue('charge', { order: '42' })
  const error = failure(() => { kit.refuteEnqueued('charge', { order: '42' }) })
  t.match(error, { operator: 'refuteEnqueued', actual: [{ name: 'charge', payload: { order: '42' } }], expected: [] })
  t.match(error.message, /^Expected no task 'charge' with \{ order: '42' \} to be enqueued\.\n1 task enqueued:\n {2}1\. charge/)
})

t.test('unknown names and options are rejected', async t => {
  const { kit } = await tested(t)
  t.throws(() => kit.assertEnqueued('reciept' as never), { code: 'FST_TASKS_NOT_REGISTERED', message: /did you mean 'receipt'/ })
  t.throws(() => { kit.refuteEnqueued('reciept' as never) }, { code: 'FST_TASKS_NOT_REGISTERED' })
  t.throws(() => kit.enqueued('reciept' as never), { code: 'FST_TASKS_NOT_REGISTERED' })
  t.throws(() => kit.assertEnqueued('charge', {}, { queu: 'mail' } as never), { code: 'FST_TASKS_INVALID_KIT_CALL', message: /did you mean 'queue'/ })
  t.throws(() => kit.assertEnqueued('charge', {}, { times: 0 }), { code: 'FST_TASKS_INVALID_KIT_CALL', message: /refuteEnqueued/ })
})
