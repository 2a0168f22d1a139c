/** Deterministic ids of copies, so that ALREADY_EXISTS means that the same copy exists. */
import { hash } from 'node:crypto'

/**
 * @param source the copied task: its queue, id and life
 * @param root id of the original task, by which all its copies are found
 */
export function copyId (source: readonly string[], root: string): string {
  return hash('sha256', source.join('\n'), 'hex').slice(0, 32) + copySuffix(root)
}

/** The suffix of the ids of all copies of a task. */
export function copySuffix (root: string): string {
  return `-copy-${hash('sha256', root, 'hex').slice(0, 24)}`
}
