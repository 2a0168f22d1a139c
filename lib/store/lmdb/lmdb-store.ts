import type { Task } from '../../cloud-tasks/task.js'
import { GroupCommit } from './group-commit.js'
import { readRecord, type OnProgress } from './databases.js'
import { NameIndex, RecordIndex, idOf, type IndexedQueue } from './record-index.js'
import { OrphanCleaner } from './orphans.js'
import { decodeState, decodeTask, encodeQueue, encodeState, encodeTask } from './record-format.js'
import { addEdit, newBatch, note, repeat, revert, type Edit, type TaskBatch } from './task-batch.js'
import { openDirectory, type LmdbStoreOptions, type OpenDirectory } from './opening.js'
import { StoreError } from '../store-error.js'
import type { LoadProgress, Store, StoredQueue, StoredState, Tombstone } from '../store.js'

export type { LmdbStoreOptions }

/**
 * Stores tasks in a directory. A promise resolves when its change is in the journal and would survive a power failure. Records that still
 * exist after a while are written to lmdb's databases, and so is the journal of a killed process on the next start.
 *
 * Keys are ascending numbers instead of names, so that new tasks are adjacent, on few pages, regardless of the number of waiting tasks.
 */
export class LmdbStore implements Store {
  readonly #options: LmdbStoreOptions
  readonly #queues = new RecordIndex()
  readonly #names = new NameIndex()
  #opened!: OpenDirectory
  #commits!: GroupCommit<TaskBatch>
  /** The last committed batch: most tasks are dispatched immediately after they are stored, so most reads find them here. */
  #recent: TaskBatch | undefined
  readonly #orphans = new OrphanCleaner(async tasks => {
    await this.#change(batch => { for (const task of tasks) this.#erase(batch, task) })
  })

  #loading: Promise<StoredState> | undefined
  #closed: Promise<void> | undefined

  constructor (options: LmdbStoreOptions) {
    this.#options = options
  }

  /** @throws StoreError */
  load (onProgress: (progress: LoadProgress) => void = () => {}): Promise<StoredState> {
    this.#loading = this.#load((step, done, total) => {
      if (this.#closed !== undefined) throw new StoreError('closed', 'The store was closed while it was being opened')
      onProgress({ step, done, total })
    })
    return this.#loading
  }

  async #load (onProgress: OnProgress): Promise<StoredState> {
    const opened = this.#opened = await openDirectory(this.#options, onProgress)
    const { databases, writeAhead, lastKnownAt } = opened
    this.#commits = new GroupCommit<TaskBatch>({
      begin: newBatch,
      write: ({ rows, shrinks, failure }) => failure === undefined ? writeAhead.write(rows, shrinks) : Promise.reject(failure),
      onDone: (batch, failed) => { this.#done(batch, failed) }
    })
    return {
      queues: this.#queues.loadQueues(databases),
      tasks: this.#queues.loadTasks(databases, orphans => { this.#orphans.add(orphans) }),
      taskCount: (databases.tasks.getStats() as { readonly entryCount: number }).entryCount,
      tombstones: this.#names.load(databases),
      lastKnownAt
    }
  }

  putTask (task: Task): Promise<void> {
    return this.#change(batch => { this.#put(batch, this.#queueOf(task), task) })
  }

  putTasks (tasks: readonly Task[]): Promise<void> {
    return this.#change(batch => {
      const queues = tasks.map(task => this.#queueOf(task))
      for (const [index, task] of tasks.entries()) this.#put(batch, queues[index]!, task)
    })
  }

  getTask (name: string): Task | undefined {
    for (const batch of this.#commits.open()) {
      const change = batch.changes.get(name)
      if (change !== undefined) return this.#queues.has(change.queue) ? change.task : undefined
    }
    const number = this.#queues.ofTask(name)?.tasks.get(name)
    if (number === undefined) return undefined
    return this.#recent?.changes.get(name)?.task ?? this.#read(number, name)
  }

  removeTask (name: string, tombstone?: Tombstone): Promise<void> {
    return this.#change(batch => {
      if (tombstone !== undefined) this.#names.remember(batch, tombstone)
      const queue = this.#queues.ofTask(name)
      const number = queue?.tasks.get(name)
      if (queue === undefined || number === undefined) return
      queue.tasks.delete(name)
      this.#erase(batch, number)
      note(batch, name, { queue, task: undefined, before: number })
    })
  }

  putQueue (queue: StoredQueue): Promise<void> {
    return this.#change(batch => {
      const { name } = queue
      checkKey(name)
      let kept = this.#queues.get(name)
      if (kept === undefined) {
        const added = kept = this.#queues.add(name)
        batch.undo.push(() => { this.#queues.remove(added) })
      }
      batch.shrinks = false
      batch.rows.push(['queues', name, encodeQueue(queue, kept.number)])
    })
  }

  removeQueue (name: string, tombstone?: Tombstone): Promise<void> {
    let queue: IndexedQueue | undefined
    return this.#change(batch => {
      if (tombstone !== undefined) this.#names.remember(batch, tombstone)
      const removed = queue = this.#queues.get(name)
      if (removed === undefined) return
      this.#queues.remove(removed)
      batch.undo.push(() => { this.#queues.restore(removed) })
      batch.rows.push(['queues', name, undefined])
    }).then(() => { if (queue !== undefined) this.#orphans.add(queue.tasks.values()) })
  }

  forget (names: readonly string[]): Promise<void> {
    return this.#change(batch => {
      for (const name of names) this.#names.forget(batch, name)
    })
  }

  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    const opened = await this.#loading?.then(() => this.#opened, () => undefined)
    // A failed load has left nothing open.
    if (opened === undefined) return
    this.#orphans.stop()
    await this.#commits.close()
    await opened.close()
  }

  #change (edit: Edit): Promise<void> {
    try {
      const batch = this.#commits.batch()
      addEdit(batch, edit)
      return batch.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** @throws where the store does not have it */
  #queueOf ({ name }: Task): IndexedQueue {
    const queue = this.#queues.ofTask(name)
    if (queue === undefined) throw new Error(`The store has no queue for task ${name}`)
    return queue
  }

  #put (batch: TaskBatch, queue: IndexedQueue, task: Task): void {
    const { name } = task
    const before = queue.tasks.get(name)
    const number = before === undefined ? this.#queues.nextTask() : Math.abs(before)
    const attempted = task.dispatchCount > 0
    if (before === undefined || !attempted) {
      const record = encodeTask(task, queue.number, idOf(queue, name))
      batch.rows.push(before === undefined ? ['tasks', number, record, true] : ['tasks', number, record])
      batch.shrinks = false
    }
    const hasState = before !== undefined && before < 0
    if (attempted) batch.rows.push(hasState ? ['states', number, encodeState(task)] : ['states', number, encodeState(task), true])
    else if (hasState) batch.rows.push(['states', number, undefined])
    queue.tasks.set(name, attempted ? -number : number)
    note(batch, name, { queue, task, before })
  }

  #erase (batch: TaskBatch, kept: number): void {
    batch.rows.push(['tasks', Math.abs(kept), undefined])
    if (kept < 0) batch.rows.push(['states', -kept, undefined])
  }

  #read (kept: number, name: string): Task | undefined {
    const number = Math.abs(kept)
    const record = this.#record('tasks', number, name)
    if (record === undefined) return undefined
    const task = decodeTask(record, record.length, name)
    const state = kept > 0 ? undefined : this.#record('states', number, name)
    return state === undefined ? task : { ...task, ...decodeState(state, state.length) }
  }

  #record (table: 'tasks' | 'states', number: number, name: string): Buffer | undefined {
    const { writeAhead, databases } = this.#opened
    const recent = writeAhead.get(table, number)
    return recent === null ? readRecord(databases, table, number, name) : recent
  }

  #done (batch: TaskBatch, failed: boolean): void {
    if (!failed) {
      batch.edits.length = 0
      this.#recent = batch
      return
    }
    const later = [...this.#commits.open()]
    for (const one of later) revert(one)
    revert(batch)
    for (const one of later.reverse()) repeat(one)
  }
}

function checkKey (name: string): void {
  if (name.length > MAX_KEY_BYTES) throw new Error(`A name of ${name.length} characters is too long to be stored`)
}

/** lmdb's limit is 1978; names are ASCII. */
const MAX_KEY_BYTES = 1900
