import type { CloudTasksClient } from '@google-cloud/tasks'
import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import cloudTasks, { cloudTasks as named, defineTasks, errors, type CloudTasksOptions, type QueueOptions } from 'fastify-cloud-tasks'
import type { Equal } from '../equal.js'
import { handlers } from './handlers.js'
import { tasks } from './tasks.js'

true satisfies Equal<typeof named, typeof cloudTasks>
// Codes are literals, so that a switch over them is checked.
true satisfies Equal<InstanceType<typeof errors.FST_TASKS_CLOSING>['code'], 'FST_TASKS_CLOSING'>
true satisfies Equal<ReturnType<typeof errors.FST_TASKS_CLOSING>['statusCode'], number>
export function tooLarge (error: unknown): error is errors.TaskError<'FST_TASKS_TOO_LARGE'> {
  if (error instanceof errors.FST_TASKS_TOO_LARGE) true satisfies Equal<typeof error.code, 'FST_TASKS_TOO_LARGE'>
  return error instanceof errors.FST_TASKS_TOO_LARGE
}

// What fits.
const app = Fastify()
await app.register(cloudTasks, { tasks, handlers })
await app.register(named, { tasks })
await app.register(import('fastify-cloud-tasks'), { tasks, handlers, transport: 'local' })
await Fastify({ http2: true }).withTypeProvider<TypeBoxTypeProvider>().register(cloudTasks, { tasks, handlers })
app.register(cloudTasks, { tasks, handlers: { countdown: handlers.countdown } }).get('/', () => 'the instance comes back')
await app.register(cloudTasks, {
  tasks,
  // Some handlers, in place: payload and `this` are known here too.
  handlers: {
    async countdown (payload, task) {
      true satisfies Equal<typeof payload, { from: number }>
      true satisfies Equal<typeof this, FastifyInstance>
      return await this.enqueue('countdown', { from: payload.from - task.attempt })
    }
  }
})
await app.register(cloudTasks, {
  tasks,
  handlers,
  prefix: '/internal/tasks',
  transport: 'cloud',
  project: 'my-project',
  location: 'us-central1',
  queue: 'default',
  queues: { mail: { rateLimits: { maxDispatchesPerSecond: 5 }, retryConfig: { maxAttempts: 3, minBackoffSeconds: 1 } } },
  target: { type: 'http', url: 'https://example.com', serviceAccountEmail: 'tasks@my-project.iam.gserviceaccount.com' },
  client: undefined as unknown as CloudTasksClient,
  auth: { issuer: ['https://accounts.google.com'], audience: 'https://example.com' },
  invalidPayload: 'drop',
  exposeRoutes: true,
  onExhausted: (payload, error, task) => { task.log.error({ err: error, payload }) },
  onDropped: (payload, reason, task) => { task.log.warn({ payload }, reason.trim()) }
})
await app.register(cloudTasks, { tasks, target: { type: 'appEngine', service: 'worker' }, auth: false })
const options: CloudTasksOptions<typeof tasks> = { tasks, handlers }
await app.register(cloudTasks, options)

// Handlers that do not go with the tasks.
// @ts-expect-error takes another payload
await app.register(cloudTasks, { tasks, handlers: { countdown: async (payload: { from: string }) => { payload.from.trim() } } })
// @ts-expect-error not in the payload
await app.register(cloudTasks, { tasks, handlers: { async countdown ({ form }) {} } })
// @ts-expect-error no such task
await app.register(cloudTasks, { tasks, handlers: { async 'count-down' () {} } })
// @ts-expect-error no function
await app.register(cloudTasks, { tasks, handlers: { countdown: 3 } })
const others = defineTasks({ countdown: { payload: Type.Object({ from: Type.String() }) } })
// @ts-expect-error the handlers of another registry
await app.register(cloudTasks, { tasks: others, handlers: { countdown: handlers.countdown } })

// Options.
// @ts-expect-error no options
await app.register(cloudTasks)
// @ts-expect-error no tasks
await app.register(cloudTasks, { handlers })
// @ts-expect-error unknown option
await app.register(cloudTasks, { tasks, trnasport: 'local' })
// @ts-expect-error unknown option beside handlers
await app.register(cloudTasks, { tasks, handlers, regoin: 'us-central1' })
// @ts-expect-error unknown value
await app.register(cloudTasks, { tasks, transport: 'redis' })
// @ts-expect-error verification is either off or described
await app.register(cloudTasks, { tasks, auth: true })
// @ts-expect-error unknown kind of target
await app.register(cloudTasks, { tasks, target: { type: 'pubsub' } })
// @ts-expect-error an option of the other target
await app.register(cloudTasks, { tasks, target: { type: 'appEngine', url: 'https://example.com' } })
// @ts-expect-error unknown option of a queue
await app.register(cloudTasks, { tasks, queues: { mail: { retryConfig: { maxRetries: 3 } } } })
// @ts-expect-error the service chooses it
export const queue: QueueOptions = { rateLimits: { maxBurstSize: 3 } }

// Definitions.
// @ts-expect-error no payload
defineTasks({ a: { path: '/a' } })
// @ts-expect-error a method that carries no body
defineTasks({ a: { method: 'GET', payload: Type.Null() } })
// @ts-expect-error no schema
defineTasks({ a: { payload: { order: 'string' } } })
