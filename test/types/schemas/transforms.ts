/** For libraries whose schemas have an input and an output type. */
import type { TaskHandler, TaskPayload } from 'fastify-cloud-tasks'
import type { Equal } from '../equal.js'
import type { tasks } from './tasks.js'

true satisfies Equal<TaskPayload<typeof tasks, 'count-down'>['from'], string>
// A field with a default may be left out by the sender, and is there for the handler.
export const payload: TaskPayload<typeof tasks, 'count-down'> = { from: '3' }
export const handler: TaskHandler<typeof tasks, 'count-down'> = ({ from, step }) => {
  true satisfies Equal<typeof from, number>
  true satisfies Equal<typeof step, number>
}
