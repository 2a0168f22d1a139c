import { queueNameOf } from '../../cloud-tasks/names.js'
import { entriesOf, type Databases } from './databases.js'
import { NameMap } from '../name-map.js'
import { decodeQueue, encodeTombstone, sealOf, type Row } from './record-format.js'
import { damaged, type StoreError } from '../store-error.js'
import type { StoredQueue, TaskIndexEntry, Tombstone } from '../store.js'

/** A queue with the records of its tasks. A queue that is deleted and created again is a new one. */
export interface IndexedQueue {
  readonly number: number
  readonly name: string
  /** The number of the task's record by name; negative if it has a state record too. */
  readonly tasks: NameMap<number>
}

/** Maps names of queues and tasks to record numbers. Numbers ascend and are never reused. */
export class RecordIndex {
  readonly #queues = new Map<string, IndexedQueue>()
  #lastQueue = 0
  #lastTask = 0

  get (name: string): IndexedQueue | undefined {
    return this.#queues.get(name)
  }

  /** The queue in a task's name. */
  ofTask (name: string): IndexedQueue | undefined {
    return this.#queues.get(queueNameOf(name))
  }

  /** Whether this queue still exists, and is not a new one with the same name. */
  has (queue: IndexedQueue): boolean {
    return this.#queues.get(queue.name) === queue
  }

  add (name: string): IndexedQueue {
    const queue: IndexedQueue = { number: ++this.#lastQueue, name, tasks: new NameMap() }
    this.#queues.set(name, queue)
    return queue
  }

  restore (queue: IndexedQueue): void {
    this.#queues.set(queue.name, queue)
  }

  remove (queue: IndexedQueue): void {
    this.#queues.delete(queue.name)
  }

  nextTask (): number {
    return ++this.#lastTask
  }

  /** @throws StoreError damaged */
  loadQueues (databases: Databases): StoredQueue[] {
    const loaded: StoredQueue[] = []
    for (const { key, value } of entriesOf(databases, databases.queues)) {
      const { number, queue } = readQueue(databases, value, key)
      this.#queues.set(queue.name, { number, name: queue.name, tasks: new NameMap() })
      this.#lastQueue = Math.max(this.#lastQueue, number)
      loaded.push(queue)
    }
    return loaded
  }

  /**
   * All tasks of the queues that were loaded. In the end `onOrphans` gets the records that nothing needs any more.
   * @throws StoreError damaged
   */
  * loadTasks (databases: Databases, onOrphans: (tasks: number[]) => void): Generator<TaskIndexEntry, void> {
    const { file, tasks, states } = databases
    const byNumber = new Map<number, IndexedQueue>()
    for (const queue of this.#queues.values()) byNumber.set(queue.number, queue)
    const orphans: number[] = []
    const attempted = entriesOf(databases, states)
    let state = attempted.next().value
    for (const { key: number, value: head } of entriesOf(databases, tasks)) {
      if (head.seal >>> 0 !== sealOf('tasks', number)) throw damaged(file, `task record ${number} is damaged`)
      this.#lastTask = number
      this.#lastQueue = Math.max(this.#lastQueue, head.queue)
      let dueAgainAt: number | undefined
      if (state !== undefined && state.key <= number) {
        // A state goes with its task.
        if (state.key < number || state.value.seal >>> 0 !== sealOf('states', number)) throw damagedState(file, state.key)
        dueAgainAt = state.value.dueAt
        state = attempted.next().value
      }
      const kept = dueAgainAt === undefined ? number : -number
      const queue = byNumber.get(head.queue)
      if (queue === undefined) {
        orphans.push(kept)
        continue
      }
      const name = taskName(queue, head.id)
      queue.tasks.set(name, kept)
      const generated = head.generatedId ? { generatedId: true } as const : undefined
      yield { name, scheduleAt: dueAgainAt ?? head.scheduleAt, createdAt: head.createdAt, ...generated }
    }
    if (state !== undefined) throw damagedState(file, state.key)
    onOrphans(orphans)
  }
}

/** A commit that changes names. */
export interface NameChanges {
  readonly rows: Row[]
  /** Rollback actions, to be called in reverse order. */
  readonly undo: Array<() => void>
}

/** Maps names of tombstones to record numbers. */
export class NameIndex {
  readonly #numbers = new NameMap<number>()
  #last = 0

  remember ({ rows, undo }: NameChanges, tombstone: Tombstone): void {
    const { name } = tombstone
    const [before, number] = [this.#numbers.get(name), ++this.#last]
    this.#numbers.set(name, number)
    rows.push(['names', number, encodeTombstone(tombstone), true])
    if (before !== undefined) rows.push(['names', before, undefined])
    undo.push(() => {
      if (before === undefined) this.#numbers.delete(name)
      else this.#numbers.set(name, before)
    })
  }

  forget ({ rows, undo }: NameChanges, name: string): void {
    const number = this.#numbers.get(name)
    if (number === undefined) return
    this.#numbers.delete(name)
    rows.push(['names', number, undefined])
    undo.push(() => { this.#numbers.set(name, number) })
  }

  /** @throws StoreError damaged */
  * load (databases: Databases): Generator<Tombstone, void> {
    for (const { key: number, value: tombstone } of entriesOf(databases, databases.names)) {
      this.#last = number
      this.#numbers.set(tombstone.name, number)
      yield tombstone
    }
  }
}

/** A task's id: its name without the queue. */
export function idOf (queue: IndexedQueue, task: string): string {
  return task.slice(queue.name.length + TASKS.length)
}

function readQueue ({ file }: Databases, value: Buffer, name: string): ReturnType<typeof decodeQueue> {
  try {
    return decodeQueue(value, name)
  } catch (error) {
    throw damaged(file, (error as Error).message, error)
  }
}

function damagedState (file: string, number: number): StoreError {
  return damaged(file, `what attempts have changed of task record ${number} is damaged, or that record is lost`)
}

function taskName (queue: IndexedQueue, id: string): string {
  return queue.name + TASKS + id
}

const TASKS = '/tasks/'
