import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testTasks } from 'fastify-cloud-tasks/testing'
import { build } from './app.js'

test('an order sends its receipt', async t => {
  const app = await build()
  t.after(() => app.close())
  const kit = testTasks(app)
  await app.inject({ method: 'POST', url: '/orders', payload: { order: '42' } })
  kit.assertEnqueued('send-receipt', { order: '42' })
  await kit.drain()
  assert.deepEqual(app.sent, ['42'])
})

test('a receipt is sent in an hour', async t => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout', 'setInterval'], now: Date.now() }) // app.inject needs setImmediate
  const app = await build()
  t.after(() => app.close())
  const kit = testTasks(app)
  await app.inject({ method: 'POST', url: '/orders', payload: { order: '42', scheduleDelaySeconds: 3600 } })
  t.mock.timers.tick(3_599_999)
  assert.deepEqual(await kit.drain(), [])
  t.mock.timers.tick(1)
  assert.equal((await kit.drain()).length, 1)
})
