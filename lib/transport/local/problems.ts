import { CloudTasksError } from '../../cloud-tasks/status.js'
import { FST_TASKS_STORE_UNAVAILABLE } from '../../errors.js'
import { StoreError } from '../../store/store-error.js'

export function queueHint (queue: string): string {
  return `add it to the option 'queues', as in queues: { '${queue}': {} }`
}

/** Converts a store's error to the plugin's; undefined for other errors. */
export function storeUnavailable (error: unknown): Error | undefined {
  const problem = error instanceof CloudTasksError ? error.cause : error
  return problem instanceof StoreError ? new FST_TASKS_STORE_UNAVAILABLE(problem.message, { cause: problem }) : undefined
}
