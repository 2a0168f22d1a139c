/** What holds for the tasks of every schema library. `tasks.ts` beside it is one of `test/registry/definitions`. */
import cloudTasks, { defineTasks, tasksOf, type RegisteredTasks, type TaskHandler, type TaskHandlers, type TaskPayload } from 'fastify-cloud-tasks'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Equal } from '../equal.js'
import { tasks } from './tasks.js'

declare module 'fastify-cloud-tasks' {
  interface Register { tasks: typeof tasks }
}

interface Receipt { order: string, email: string }
interface Shipment { items: Array<{ sku: string, email: string }>, speed: 'slow' | 'fast', note?: string }

// Payload types are exact: never any, and not wider than the schema.
true satisfies Equal<RegisteredTasks, typeof tasks>
true satisfies Equal<TaskPayload<typeof tasks, 'send-receipt'>, Receipt>
true satisfies Equal<TaskPayload<typeof tasks, 'ship-order'>['items'][number], { sku: string, email: string }>
true satisfies Equal<TaskPayload<typeof tasks, 'ship-order'>['speed'], 'slow' | 'fast'>
true satisfies Equal<TaskPayload<typeof tasks, 'nightly'>, null>
true satisfies Equal<TaskPayload<typeof tasks, 'send-receipt' | 'nightly'>, never>

export const receipt: Receipt = { order: '42', email: 'a@example.com' }
export const shipment: Shipment = { items: [{ sku: 'a', email: 'a@example.com' }], speed: 'fast' }

/** Handlers that enqueue tasks of their own registry and return what that gives: no circle. */
export const handlers = {
  async 'send-receipt' ({ order, email }) {
    true satisfies Equal<typeof this, FastifyInstance>
    true satisfies Equal<typeof order | typeof email, string>
    return await this.enqueue('send-receipt', { order, email })
  },
  'ship-order' ({ items, speed, note = '' }, task) {
    true satisfies Equal<typeof speed, 'slow' | 'fast'>
    true satisfies Equal<typeof note, string>
    task.log.info(items.map(({ sku }) => sku.trim()))
    // @ts-expect-error not in the payload
    task.log.info(items.map(({ skus }) => skus))
  },
  nightly: payload => { true satisfies Equal<typeof payload, null> }
} satisfies Partial<TaskHandlers<typeof tasks>>

// One handler in a file of its own.
export const one: TaskHandler<typeof tasks, 'send-receipt'> = async function ({ order, email }) { return await this.tasks.run('send-receipt', { order, email }) }
export const other: TaskHandlers<typeof tasks>['send-receipt'] = ({ order }) => order.trim()
// @ts-expect-error unknown name
export const unknown: TaskHandler<typeof tasks, 'send-reciept'> = () => 0
// @ts-expect-error not in the payload
export const misspelt: TaskHandler<typeof tasks, 'send-receipt'> = ({ ordre }) => ordre

export async function main () {
  const app = Fastify()
  await app.register(cloudTasks, { tasks, handlers })
  await app.register(cloudTasks, { tasks, handlers: { 'send-receipt': one, async 'ship-order' ({ speed }) { true satisfies Equal<typeof speed, 'slow' | 'fast'> } } })
  // @ts-expect-error not in the payload
  await app.register(cloudTasks, { tasks, handlers: { async 'send-receipt' ({ ordre }) {} } })
  // @ts-expect-error no such task
  await app.register(cloudTasks, { tasks, handlers: { async 'send-reciept' () {} } })
  // @ts-expect-error another payload
  await app.register(cloudTasks, { tasks, handlers: { 'send-receipt': async (payload: { order: number }) => { payload.order.toFixed() } } })

  await app.enqueue('send-receipt', receipt, { id: '42' })
  await app.enqueue('ship-order', shipment)
  await app.enqueue('ship-order', { ...shipment, note: 'ring twice' })
  await app.enqueue('nightly', null)
  await app.tasks.run('send-receipt', receipt)
  await app.tasks.enqueueMany('send-receipt', [{ payload: receipt }])
  await tasksOf(app, tasks).enqueue('send-receipt', receipt)

  // @ts-expect-error unknown name
  await app.enqueue('send-reciept', receipt)
  // @ts-expect-error missing payload
  await app.enqueue('nightly')
  // @ts-expect-error missing field
  await app.enqueue('send-receipt', { order: '42' })
  // @ts-expect-error wrong type of a field
  await app.enqueue('send-receipt', { order: 42, email: 'a@example.com' })
  // @ts-expect-error misspelt field
  await app.enqueue('send-receipt', { order: '42', emial: 'a@example.com' })
  // @ts-expect-error one field too many
  await app.enqueue('send-receipt', { ...receipt, order: '42', copy: true })
  // @ts-expect-error missing field in a list
  await app.enqueue('ship-order', { items: [{ sku: 'a' }], speed: 'fast' })
  // @ts-expect-error wrong value
  await app.enqueue('ship-order', { items: [], speed: 'faster' })
  // @ts-expect-error the payload of another task
  await app.enqueue('ship-order', receipt)
  // @ts-expect-error union of names
  await app.enqueue(Math.random() < 0.5 ? 'send-receipt' : 'ship-order', receipt)
  // @ts-expect-error wrong type of a field
  await app.tasks.run('send-receipt', { order: 42, email: 'a@example.com' })
  // @ts-expect-error missing field
  await app.tasks.enqueueMany('send-receipt', [{ payload: { order: '42' } }])
  // @ts-expect-error missing field
  await tasksOf(app, tasks).enqueue('send-receipt', { order: '42' })
}

// @ts-expect-error misspelt key of a definition
defineTasks({ a: { payload: tasks.nightly.payload, pth: '/x' } })
// @ts-expect-error misspelt key of a definition, beside a good one
defineTasks({ a: { payload: tasks.nightly.payload }, b: { payload: tasks.nightly.payload, queue: 'mail', dispatchDeadlineSecond: 30 } })
// @ts-expect-error wrong type of a key
defineTasks({ a: { payload: tasks.nightly.payload, queue: 5 } })
// @ts-expect-error no payload
defineTasks({ a: { path: '/a' } })
// @ts-expect-error no schema
defineTasks({ a: { payload: { order: 'string' } } })
// @ts-expect-error no schema
defineTasks({ a: { payload: 'string' } })
