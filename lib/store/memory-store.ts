import { queueNameOf } from '../cloud-tasks/names.js'
import type { Task } from '../cloud-tasks/task.js'
import { NameMap } from './name-map.js'
import type { Store, StoredQueue, StoredState, TaskIndexEntry, Tombstone } from './store.js'

/** Keeps tasks until the process ends; an engine that is opened on it again finds them. */
export class MemoryStore implements Store {
  readonly #queues = new Map<string, StoredQueue>()
  /** By queue, so that a queue is removed with all its tasks in one step. */
  readonly #tasks = new Map<string, NameMap<Task>>()
  readonly #tombstones = new NameMap<Tombstone>()

  async load (): Promise<StoredState> {
    return {
      queues: [...this.#queues.values()],
      tasks: indexOf(this.#tasks),
      tombstones: this.#tombstones.values()
    }
  }

  putTask (task: Task): Promise<void> {
    this.#put(task)
    return done
  }

  putTasks (tasks: readonly Task[]): Promise<void> {
    for (const task of tasks) this.#put(task)
    return done
  }

  getTask (name: string): Task | undefined {
    return this.#tasks.get(queueNameOf(name))?.get(name)
  }

  removeTask (name: string, tombstone?: Tombstone): Promise<void> {
    this.#tasks.get(queueNameOf(name))?.delete(name)
    if (tombstone !== undefined) this.#tombstones.set(name, tombstone)
    return done
  }

  putQueue (queue: StoredQueue): Promise<void> {
    this.#queues.set(queue.name, queue)
    return done
  }

  removeQueue (name: string, tombstone?: Tombstone): Promise<void> {
    this.#queues.delete(name)
    this.#tasks.delete(name)
    if (tombstone !== undefined) this.#tombstones.set(name, tombstone)
    return done
  }

  forget (names: readonly string[]): Promise<void> {
    for (const name of names) this.#tombstones.delete(name)
    return done
  }

  close (): Promise<void> {
    return done
  }

  #put (task: Task): void {
    const queue = queueNameOf(task.name)
    let tasks = this.#tasks.get(queue)
    if (tasks === undefined) this.#tasks.set(queue, tasks = new NameMap())
    tasks.set(task.name, task)
  }
}

function * indexOf (queues: ReadonlyMap<string, NameMap<Task>>): Iterable<TaskIndexEntry> {
  for (const tasks of queues.values()) yield * tasks.values()
}

/** Shared, because a new promise would be most of the cost of a change. */
const done = Promise.resolve()
