import type { Task } from '../../cloud-tasks/task.js'
import type { Batch } from './group-commit.js'
import type { IndexedQueue } from './record-index.js'

/** A change of a pending batch, so that reads see it at once and a failed commit can be rolled back. */
export interface Change {
  readonly queue: IndexedQueue
  /** Undefined: removed. */
  readonly task: Task | undefined
  /** The task's previous record number in its queue; undefined if it did not exist. */
  readonly before: number | undefined
}

/** Makes a change in memory and adds its rows to a batch. Throws only before its first change. */
export type Edit = (batch: TaskBatch) => void

export interface TaskBatch extends Batch {
  /** In the order of the calls. Repeated if an earlier batch fails, because rows depend on what is stored before them. */
  readonly edits: Edit[]
  /** The last change of each task. */
  readonly changes: Map<string, Change>
  /** What else to do to roll back, after the last change of each task, in reverse order. */
  readonly undo: Array<() => void>
  /** Why an edit could not be repeated; the whole batch fails with it. */
  failure: unknown
}

export function newBatch (batch: Batch): TaskBatch {
  return { ...batch, edits: [], changes: new Map(), undo: [], failure: undefined }
}

/** @throws what the edit does; then the batch is as before */
export function addEdit (batch: TaskBatch, edit: Edit): void {
  apply(batch, edit)
  batch.edits.push(edit)
}

/** Notes a change that an edit makes to a task. */
export function note (batch: TaskBatch, name: string, change: Change): void {
  const earlier = batch.changes.get(name)
  if (earlier !== undefined) batch.undo.push(() => { undo(name, earlier) })
  batch.changes.set(name, change)
}

/** Rolls its changes back. Requires that those of later batches are. */
export function revert (batch: TaskBatch): void {
  for (const [name, change] of batch.changes) undo(name, change)
  for (const undoOther of batch.undo.reverse()) undoOther()
  batch.rows.length = batch.undo.length = batch.bytes = 0
  batch.changes.clear()
  batch.shrinks = true
}

/** Makes the changes of a batch again that was reverted because an earlier one has failed. */
export function repeat (batch: TaskBatch): void {
  batch.failure = undefined
  try {
    for (const edit of batch.edits) apply(batch, edit)
  } catch (error) {
    // Such as a task whose queue could not be stored.
    batch.failure = error
    revert(batch)
  }
}

function apply (batch: TaskBatch, edit: Edit): void {
  const before = batch.rows.length
  edit(batch)
  for (let i = before; i < batch.rows.length; i++) batch.bytes += batch.rows[i]![2]?.length ?? 0
}

function undo (name: string, { queue, before }: Change): void {
  if (before === undefined) queue.tasks.delete(name)
  else queue.tasks.set(name, before)
}
