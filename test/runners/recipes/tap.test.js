import t from 'tap'
import { testTasks } from 'fastify-cloud-tasks/testing'
import { build } from './app.js'

t.test('an order sends its receipt', async t => {
  const app = await build()
  t.teardown(() => app.close())
  const kit = testTasks(app)
  await app.inject({ method: 'POST', url: '/orders', payload: { order: '42' } })
  kit.assertEnqueued('send-receipt', { order: '42' })
  await kit.drain()
  t.strictSame(app.sent, ['42'])
})
