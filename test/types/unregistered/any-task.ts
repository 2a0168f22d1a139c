import Fastify, { type FastifyInstance } from 'fastify'
import type { EnqueueResult, Register, RegisteredTasks, TaskPayload } from 'fastify-cloud-tasks'
import type { Equal } from '../equal.js'

// Nobody fills `Register` in this program: any name and any payload.
true satisfies Equal<keyof Register, never>
true satisfies Equal<TaskPayload<RegisteredTasks, 'whatever'>, any>

const app = Fastify()
await app.enqueue('whatever', { a: [1, null] }, { id: '42' }).then(result => {
  true satisfies Equal<typeof result, EnqueueResult>
})
await app.enqueue('whatever' as string, undefined)
await app.enqueue(Math.random() < 0.5 ? 'a' : 'b', 3)
await app.tasks.run('whatever', 'text')
await app.tasks.enqueueMany('whatever', [{ payload: 1 }, { payload: 'text', id: '42' }])
await app.tasks.delete('whatever', '42')

// @ts-expect-error a payload all the same
await app.enqueue('whatever')
// @ts-expect-error a name all the same
await app.enqueue(42, {})
// @ts-expect-error unknown option
await app.enqueue('whatever', {}, { delaySeconds: 1 })
// @ts-expect-error unknown option of an item
await app.tasks.enqueueMany('whatever', [{ payload: 1, delaySeconds: 1 }])

/** What a plugin that knows nothing of the app's tasks does. */
export async function enqueueLater (this: FastifyInstance, name: string, payload: unknown) {
  return await this.enqueue(name, payload)
}
