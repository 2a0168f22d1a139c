/** Ids of copies of tasks: the same whenever the same copy is made again, so that ALREADY_EXISTS means that it was made before. */
import { hash } from 'node:crypto'

/**
 * @param source what is copied: queue, id and life of a task
 * @param root id of the task that was enqueued, by which all its copies are found
 */
export function copyId (source: readonly string[], root: string): string {
  return hash('sha256', source.join('\n'), 'hex').slice(0, 32) + copySuffix(root)
}

/** What the ids of all copies of a task end with. */
export function copySuffix (root: string): string {
  return `-copy-${hash('sha256', root, 'hex').slice(0, 24)}`
}
