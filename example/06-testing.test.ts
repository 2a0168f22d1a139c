/** Five tests of an app with tasks, by Node's own runner; none waits, and none needs Google or a queue. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { testTasks } from 'fastify-cloud-tasks/testing'
import { build, tasks, type Services } from './06-testing.js'

async function setUp (t: TestContext, charge: Services['charge'] = async () => {}) {
  const mails: string[] = []
  const app = await build({ charge, mail: async text => { mails.push(text) } })
  t.after(() => app.close())
  const kit = testTasks(app, tasks)
  const order = async (cents: number) => await app.inject({ method: 'POST', url: '/orders', payload: { order: '42', cents } })
  return { kit, mails, order }
}

test('an order enqueues its charge, and nothing runs before it answers', async t => {
  const { kit, mails, order } = await setUp(t)
  assert.equal((await order(100)).statusCode, 202)
  kit.assertEnqueued('charge-card', { order: '42', cents: 100 })
  kit.refuteEnqueued('send-receipt')
  assert.deepEqual(mails, [])
})

test('a charge sends one receipt', async t => {
  const { kit, mails, order } = await setUp(t)
  await order(100)
  const attempts = await kit.drain()
  assert.deepEqual(attempts.map(({ task, result }) => [task, result]), [['charge-card', 'done'], ['send-receipt', 'done']])
  assert.deepEqual(mails, ['receipt 42'])
})

test('a week later the customer is asked for a review', async t => {
  const { kit, mails, order } = await setUp(t)
  await order(100)
  await kit.advance('6d')
  assert.deepEqual(mails, ['receipt 42'])
  await kit.advance('1d')
  assert.deepEqual(mails, ['receipt 42', 'how was 42?'])
})

test('a card that cannot be charged is tried four times, then reported', async t => {
  const { kit, mails, order } = await setUp(t, async () => { throw new Error('declined') })
  await order(100)
  const attempts = await kit.advance('1h')
  assert.deepEqual(attempts.map(({ attempt, result, status }) => [attempt, result, status]), [
    [1, 'retry', 500], [2, 'retry', 500], [3, 'retry', 500], [4, 'retry', 500]
  ])
  assert.deepEqual(mails, ['cannot charge 42'])
})

test('an order of nothing is dropped at any attempt, and a payload that does not fit is answered 400', async t => {
  const { kit } = await setUp(t)
  assert.equal((await kit.deliver('charge-card', { order: '42', cents: 0 }, { attempt: 3 })).result, 'dropped')
  assert.equal((await kit.deliver('charge-card', { order: '42' } as never)).status, 400)
})
