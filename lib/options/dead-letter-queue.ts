import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import type { Registry } from '../registry/registry.js'
import type { Config } from './config.js'

/**
 * Checks that the dead-letter queue, which is paused, has no other tasks: they would never run.
 * @throws FST_TASKS_INVALID_OPTION
 */
export function checkDeadLetterQueue (registry: Registry, { deadLetterQueue, queue, queues }: Config): void {
  if (deadLetterQueue === undefined) return
  const refuse = (what: string) => new FST_TASKS_INVALID_OPTION(
    `'deadLetterQueue' (or CLOUD_TASKS_DEAD_LETTER_QUEUE) is '${deadLetterQueue}', ${what}; give the dead letters a queue of their own`)
  if (queue === deadLetterQueue) throw refuse("the plugin's own 'queue'")
  if (queues.has(deadLetterQueue)) throw refuse("which the option 'queues' names")
  for (const task of registry.values()) if (task.queue === deadLetterQueue) throw refuse(`the queue of task '${task.name}'`)
}

/** Whether tasks of a queue are kept as dead letters. */
export function keepsDeadLetters (queue: string, registry: Registry, config: Config): boolean {
  if (config.deadLetterQueue === undefined) return false
  return [...registry.values()].some(task => task.deadLetterQueue !== false && (task.queue ?? config.queue) === queue)
}
