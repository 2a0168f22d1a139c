import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { testTasks } from 'fastify-cloud-tasks/testing'
import { build } from './app.js'

let app, kit
beforeEach(async () => {
  // Not setImmediate, which app.inject needs; vitest 4 replaces clearTimeout only where it is named.
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  app = await build()
  kit = testTasks(app)
})
afterEach(async () => {
  await app.close()
  vi.useRealTimers()
})

test('an order sends its receipt', async () => {
  await app.inject({ method: 'POST', url: '/orders', payload: { order: '42' } })
  kit.assertEnqueued('send-receipt', { order: '42' })
  await kit.drain()
  expect(app.sent).toEqual(['42'])
})

test('a receipt is sent in an hour', async () => {
  await app.inject({ method: 'POST', url: '/orders', payload: { order: '42', scheduleDelaySeconds: 3600 } })
  vi.advanceTimersByTime(3_599_999)
  expect(await kit.drain()).toEqual([])
  vi.advanceTimersByTime(1)
  expect(await kit.drain()).toHaveLength(1)
})
