import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import type { EnqueueResult, HandlerFunction, RegisteredTasks, TaskContext, TaskHandler, TaskHandlers } from 'fastify-cloud-tasks'
import type { Equal } from '../equal.js'
import type { Photo, tasks } from './tasks.js'

// A handler that enqueues its own task and returns what comes of it: no circle, neither here nor in the registry.
export const handlers: TaskHandlers<typeof tasks> = {
  async countdown ({ from }) {
    if (from === 0) return undefined
    const next = await this.enqueue('countdown', { from: from - 1 }, { scheduleDelaySeconds: 1 })
    true satisfies Equal<typeof next, EnqueueResult>
    return next
  },
  async 'send-receipt' (payload, task) {
    true satisfies Equal<typeof this, FastifyInstance>
    true satisfies Equal<typeof payload, { order: string, email: string }>
    true satisfies Equal<typeof task, TaskContext>
    true satisfies Equal<typeof task.log, FastifyBaseLogger>
    true satisfies Equal<typeof task.signal, AbortSignal>
    true satisfies Equal<typeof task.request, FastifyRequest | undefined>
    // @ts-expect-error not in the payload
    task.log.info(payload.ordre)
    // @ts-expect-error not in the context
    task.log.info(task.retries)
    // @ts-expect-error the context is not the handler's to change
    task.attempt = 1
    return await this.tasks.run('countdown', { from: 3 })
  },
  // Neither async nor given as a method.
  'resize-photo': (payload, task) => {
    true satisfies Equal<typeof payload, Photo>
    const shape: 'round' | 'square' | undefined = payload.crop.shape
    // @ts-expect-error may be absent
    const width: number = payload.width
    // `drop` does not return, so what is behind it has a value.
    const given: number = payload.width ?? task.drop('no width')
    return { shape, width, given }
  },
  nightly (payload, task) {
    true satisfies Equal<typeof payload, null>
    return task.attempt
  }
}

// The same without an annotation, where the circle would close first.
export const satisfied = {
  async countdown ({ from }) { return await this.enqueue('countdown', { from }) },
  async nightly () { return await this.tasks.enqueueMany('countdown', [{ payload: { from: 1 } }]) }
} satisfies Partial<TaskHandlers<typeof tasks>>

// One handler by itself, as a file of its own has it.
export const receipt: TaskHandler<typeof tasks, 'send-receipt'> = async function ({ order, email }, task) {
  true satisfies Equal<typeof this, FastifyInstance>
  true satisfies Equal<typeof email, string>
  task.log.info(order)
}
export const indexed: TaskHandlers<typeof tasks>['countdown'] = ({ from }) => from.toFixed()
export const registered: TaskHandler<RegisteredTasks, 'countdown'> = ({ from }) => from.toFixed()
export const shared: HandlerFunction<{ order: string }> = async function ({ order }) { this.log.info(order) }
export const some: Partial<TaskHandlers<typeof tasks>> = { 'send-receipt': receipt, countdown: indexed }
export const others: Partial<TaskHandlers<typeof tasks>> = { 'send-receipt': shared, countdown: registered }
// @ts-expect-error unknown name
export const unknown: TaskHandler<typeof tasks, 'send-reciept'> = () => 0
// @ts-expect-error not in the payload
export const misspelt: TaskHandler<typeof tasks, 'send-receipt'> = ({ ordre }) => ordre

// @ts-expect-error forgotten handlers
export const forgotten: TaskHandlers<typeof tasks> = { countdown: async () => {}, nightly: () => 0 }

export const extra: TaskHandlers<typeof tasks> = {
  ...handlers,
  // @ts-expect-error no such task
  'count-down': handlers.countdown
}

export const wrong: Partial<TaskHandlers<typeof tasks>> = {
  // @ts-expect-error takes another payload
  countdown: async (payload: { from: string }) => { payload.from.trim() },
  // @ts-expect-error not in the payload
  async 'send-receipt' ({ ordre }) {},
  // @ts-expect-error needs a third argument that no caller gives
  nightly: async (payload, task, more: string) => { task.log.info(more, payload) },
  // @ts-expect-error no function
  'resize-photo': 'resize.js'
}
