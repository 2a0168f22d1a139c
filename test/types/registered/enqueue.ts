import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type { EnqueueItem, EnqueueResult, RegisteredTasks, TaskListing, TaskPayload } from 'fastify-cloud-tasks'
import type { Equal } from '../equal.js'
import type { Photo, tasks } from './tasks.js'

true satisfies Equal<RegisteredTasks, typeof tasks>
true satisfies Equal<TaskPayload<typeof tasks, 'send-receipt'>, { order: string, email: string }>
true satisfies Equal<TaskPayload<RegisteredTasks, 'nightly'>, null>

const app = Fastify()
const receipt = { order: '42', email: 'a@example.com' }
const photo: Photo = { photo: 'a.jpg', crop: { x: 0, y: 0 } }

// What fits.
await app.enqueue('send-receipt', receipt, { id: '42', scheduleDelaySeconds: 10, headers: { 'x-trace': '1' } }).then(result => {
  true satisfies Equal<typeof result, EnqueueResult>
})
await app.enqueue('send-receipt', receipt, { scheduleTime: new Date() })
await app.enqueue('resize-photo', photo)
await app.enqueue('resize-photo', { photo: 'a.jpg', width: 10, crop: { x: 1, y: 2, shape: 'round' } })
await app.enqueue('nightly', null)
await app.enqueue('countdown', Object.freeze({ from: 3 }))
app.get('/', async request => request.server.enqueue('countdown', { from: 1 }))
await Fastify({ http2: true }).withTypeProvider<TypeBoxTypeProvider>().enqueue('nightly', null)

// @ts-expect-error unknown name
await app.enqueue('send-reciept', receipt)
// @ts-expect-error a string may be any name
await app.enqueue('send-receipt' as string, receipt)
// @ts-expect-error missing payload
await app.enqueue('send-receipt')
// @ts-expect-error missing payload, even where it is null
await app.enqueue('nightly')
// @ts-expect-error missing field
await app.enqueue('send-receipt', { order: '42' })
// @ts-expect-error wrong type of a field
await app.enqueue('send-receipt', { order: 42, email: 'a@example.com' })
// @ts-expect-error misspelt field
await app.enqueue('send-receipt', { order: '42', emial: 'a@example.com' })
// @ts-expect-error one field too many
await app.enqueue('send-receipt', { order: '42', email: 'a@example.com', copy: true })
// @ts-expect-error the payload of another task
await app.enqueue('countdown', receipt)
// @ts-expect-error missing field of a nested object
await app.enqueue('resize-photo', { photo: 'a.jpg', crop: { x: 0 } })
// @ts-expect-error wrong value in a nested object
await app.enqueue('resize-photo', { photo: 'a.jpg', crop: { x: 0, y: 0, shape: 'oval' } })
// @ts-expect-error an optional field is left out, not undefined
await app.enqueue('resize-photo', { photo: 'a.jpg', width: undefined, crop: { x: 0, y: 0 } })

// A union of names: which payload goes with which name would be anybody's guess.
const either = Math.random() < 0.5 ? 'send-receipt' : 'countdown'
const any: any = receipt
// @ts-expect-error union of names with one of the payloads
await app.enqueue(either, receipt)
// @ts-expect-error union of names, whatever the payload
await app.enqueue(either, any)
// @ts-expect-error all names
await app.enqueue(either as keyof RegisteredTasks, receipt)
// @ts-expect-error union of names
await app.tasks.run(either, receipt)
// @ts-expect-error union of names
await app.tasks.enqueueMany(either, [{ payload: receipt }])

// Options of a call.
// @ts-expect-error unknown option
await app.enqueue('nightly', null, { delaySeconds: 1 })
// @ts-expect-error wrong type of an option
await app.enqueue('nightly', null, { id: 42 })
// @ts-expect-error a date, not a text
await app.enqueue('nightly', null, { scheduleTime: '2030-01-01' })
// @ts-expect-error headers are strings
await app.enqueue('nightly', null, { headers: { 'x-trace': 1 } })
// @ts-expect-error the payload comes before the options
await app.enqueue('countdown', { id: '1' }, { from: 1 })

// app.tasks
true satisfies Equal<ReturnType<typeof app.tasks.list>, TaskListing[]>
await app.tasks.run('countdown', { from: 3 })
// @ts-expect-error unknown name
await app.tasks.run('count-down', { from: 3 })
// @ts-expect-error wrong type of a field
await app.tasks.run('countdown', { from: '3' })
// @ts-expect-error what a handler returned has to be looked at
await app.tasks.run('countdown', { from: 3 }).then(value => value.length)

await app.tasks.enqueueMany('send-receipt', [{ payload: receipt }, { payload: receipt, id: '42', scheduleDelaySeconds: 1 }]).then(answers => {
  true satisfies Equal<typeof answers, Array<PromiseSettledResult<EnqueueResult>>>
})
await app.tasks.enqueueMany('countdown', new Set([{ payload: { from: 1 } }]))
await app.tasks.enqueueMany('countdown', (function * () { yield { payload: { from: 1 } } })())
const items: Array<EnqueueItem<TaskPayload<typeof tasks, 'countdown'>>> = []
await app.tasks.enqueueMany('countdown', items)
// @ts-expect-error an item is not the payload itself
await app.tasks.enqueueMany('send-receipt', [receipt])
// @ts-expect-error one item has the wrong payload
await app.tasks.enqueueMany('send-receipt', [{ payload: receipt }, { payload: { order: '42' } }])
// @ts-expect-error unknown option
await app.tasks.enqueueMany('send-receipt', [{ payload: receipt, delaySeconds: 1 }])
// @ts-expect-error one item is no list
await app.tasks.enqueueMany('send-receipt', { payload: receipt })

true satisfies Equal<Awaited<ReturnType<typeof app.tasks.delete>>, boolean>
await app.tasks.delete(either, '42', { queue: 'mail' })
// @ts-expect-error unknown name
await app.tasks.delete('send-reciept', '42')
// @ts-expect-error missing id
await app.tasks.delete('countdown')
