import type { Clock } from '../clock/clock.js'
import { shortId } from '../cloud-tasks/names.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import type { Task } from '../cloud-tasks/task.js'
import type { Engine } from '../engine/engine.js'
import { FST_TASKS_INVALID_PAGE, FST_TASKS_QUEUE_NOT_FOUND } from '../errors.js'
import type { Inspection, Page, PendingQuery, PendingTask } from './transport.js'
import { pathOf } from './local/delivery.js'
import { queueHint, storeUnavailable } from './local/problems.js'

/** An engine that is open, and the names of its queues. */
export interface Inspected {
  readonly engine: Engine
  readonly clock: Clock
  readonly queueName: (id: string) => string
}

/** @param ids of the queues to count */
export function countsOf ({ engine, clock, queueName }: Inspected, ids: Iterable<string>): ReturnType<Inspection['counts']> {
  return Object.fromEntries([...ids].map(id => {
    const name = queueName(id)
    const dueAt = engine.firstDueAt(name) ?? Infinity
    const oldestDueSeconds = Math.max(0, clock.now() - dueAt) / 1000
    return [id, { ...engine.counts(name), oldestDueSeconds, state: engine.state(name) }]
  }))
}

/** @throws FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_STORE_UNAVAILABLE */
export async function setQueueState ({ engine, queueName }: Inspected, queue: string, state: 'RUNNING' | 'PAUSED'): Promise<void> {
  try {
    const name = queueName(queue)
    await (state === 'PAUSED' ? engine.pauseQueue(name) : engine.resumeQueue(name))
  } catch (error) {
    if (error instanceof CloudTasksError && ['NOT_FOUND', 'INVALID_ARGUMENT'].includes(error.code)) {
      throw new FST_TASKS_QUEUE_NOT_FOUND(queue, queueHint(queue))
    }
    throw storeUnavailable(error) ?? error
  }
}

/** @throws FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_INVALID_PAGE, FST_TASKS_STORE_UNAVAILABLE */
export function pendingPage ({ engine, queueName }: Inspected, queue: string, request: PendingQuery): Page {
  try {
    const { tasks, nextPageToken } = engine.listTasks(queueName(queue), request)
    return { tasks: tasks.map(task => pendingTask(engine, queue, task)), nextPageToken }
  } catch (error) {
    if (!(error instanceof CloudTasksError)) throw storeUnavailable(error) ?? error
    if (error.code === 'NOT_FOUND') throw new FST_TASKS_QUEUE_NOT_FOUND(queue, queueHint(queue))
    throw new FST_TASKS_INVALID_PAGE(error.message)
  }
}

function pendingTask (engine: Engine, queue: string, task: Task): PendingTask {
  return {
    id: shortId(task.name),
    queue,
    path: pathOf(task),
    state: engine.running(task.name) > 0 ? 'running' : 'waiting',
    attempts: task.dispatchCount,
    scheduleTime: new Date(task.scheduleAt),
    createTime: new Date(task.createdAt)
  }
}
