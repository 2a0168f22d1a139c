import Fastify from 'fastify'
import { testTasks, type EnqueuedTask, type TestedAttempt } from 'fastify-cloud-tasks/testing'
import type { Equal } from '../equal.js'
import type { Photo } from './tasks.js'

type Name = 'send-receipt' | 'resize-photo' | 'countdown' | 'nightly'

/** Typed by `Register`. */
const kit = testTasks(Fastify())
const photo: Photo = { photo: 'a.jpg', crop: { x: 0, y: 0 } }

// What fits.
const receipts = kit.enqueued('send-receipt')
true satisfies Equal<typeof receipts, Array<EnqueuedTask<'send-receipt', { order: string, email: string }>>>
receipts.map(({ payload: { email } }) => email.trim())
for (const task of kit.enqueued()) {
  true satisfies Equal<typeof task.name, Name>
  if (task.name === 'countdown') task.payload.from.toFixed()
}
const found = kit.assertEnqueued('send-receipt', { order: '42' }, { times: 2, headers: { 'x-trace': '1' } })
true satisfies Equal<typeof found.payload, { order: string, email: string }>
found.scheduleTime.getTime().toFixed()
kit.assertEnqueued('resize-photo', { crop: { x: 0 } })
kit.assertEnqueued('resize-photo', { width: undefined })
kit.assertEnqueued('resize-photo', ({ crop }) => {
  true satisfies Equal<typeof crop.shape, 'round' | 'square' | undefined>
  return crop.x > 0
})
kit.refuteEnqueued('nightly', null, { queue: 'default' })
await kit.drain({ scheduled: true, maxAttempts: 5 }).then(attempts => {
  true satisfies Equal<typeof attempts, Array<TestedAttempt<Name>>>
})
await kit.advance('1h', { maxAttempts: 5 })
await kit.deliver('resize-photo', photo, { attempt: 3, queue: 'media' }).then(attempt => {
  true satisfies Equal<typeof attempt, TestedAttempt<'resize-photo'>>
})
kit.clock.now().toFixed()

// @ts-expect-error unknown name
kit.enqueued('send-recipt')
// @ts-expect-error unknown name
kit.refuteEnqueued('send-recipt')
// @ts-expect-error unknown field of a payload
kit.assertEnqueued('send-receipt', { ordre: '42' })
// @ts-expect-error wrong type of a nested field
kit.assertEnqueued('resize-photo', { crop: { x: '0' } })
// @ts-expect-error a function that decides nothing
kit.assertEnqueued('send-receipt', ({ order }) => order)
// @ts-expect-error an absence has no number
kit.refuteEnqueued('send-receipt', {}, { times: 2 })
// @ts-expect-error a payload to deliver is whole
await kit.deliver('send-receipt', { order: '42' })
// @ts-expect-error unknown option
await kit.drain({ schedule: true })
// @ts-expect-error the clock is moved by the kit only
kit.clock.step(5)
