import { Engine, type Answer, type Attempt, type EngineOptions } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'

export const parent = 'projects/p/locations/l'
export const queue = `${parent}/queues/q`
export const httpRequest = { url: 'http://localhost/work' }

/** An attempt that waits for the test to answer it. */
export interface OpenAttempt extends Attempt {
  readonly answer: (status: number) => Promise<void>
  readonly fail: (error: Error) => Promise<void>
}

/** An engine with a queue `q`, a clock that the test turns, and attempts that the test answers. */
export interface EngineHarness {
  readonly engine: Engine
  readonly clock: ManualClock
  readonly store: MemoryStore
  /** All attempts ever made, in order. */
  readonly attempts: OpenAttempt[]
  /** What `onError` got. */
  readonly errors: unknown[]
  readonly last: () => OpenAttempt
}

/** A store whose next writes can be made to fail, or to wait. */
export class FragileStore extends MemoryStore {
  /** Writes that fail from now on, by the method's name. */
  readonly broken = new Set<string>()
  readonly calls: string[] = []
  /** While set, every write waits for it. */
  gate: Promise<void> | undefined

  override async putTask (...args: Parameters<MemoryStore['putTask']>): Promise<void> {
    await this.#check('putTask')
    await super.putTask(...args)
  }

  override async putTasks (...args: Parameters<MemoryStore['putTasks']>): Promise<void> {
    await this.#check('putTasks')
    await super.putTasks(...args)
  }

  override async removeTask (...args: Parameters<MemoryStore['removeTask']>): Promise<void> {
    await this.#check('removeTask')
    await super.removeTask(...args)
  }

  override async putQueue (...args: Parameters<MemoryStore['putQueue']>): Promise<void> {
    await this.#check('putQueue')
    await super.putQueue(...args)
  }

  override async removeQueue (...args: Parameters<MemoryStore['removeQueue']>): Promise<void> {
    await this.#check('removeQueue')
    await super.removeQueue(...args)
  }

  async #check (method: string): Promise<void> {
    await this.gate
    this.calls.push(method)
    if (this.broken.has(method)) throw new Error(`${method} broke`)
  }
}

export async function startEngine<S extends MemoryStore = MemoryStore> (
  options: Partial<EngineOptions> & { store?: S, started?: boolean, keepQueue?: boolean } = {}
): Promise<EngineHarness & { store: S }> {
  const { started = true, keepQueue = false, ...engineOptions } = options
  const clock = (options.clock as ManualClock | undefined) ?? new ManualClock()
  const store = options.store ?? new MemoryStore() as S
  const attempts: OpenAttempt[] = []
  const errors: unknown[] = []
  const engine = new Engine({
    dispatch: attempt => new Promise<Answer>((resolve, reject) => {
      attempts.push({
        ...attempt,
        answer: async status => {
          resolve({ status })
          await clock.settle()
        },
        fail: async error => {
          reject(error)
          await clock.settle()
        }
      })
    }),
    onError: error => { errors.push(error) },
    ...engineOptions,
    store,
    clock
  })
  await engine.open()
  if (!keepQueue) await engine.updateQueue(queue)
  if (started) engine.start()
  return { engine, clock, store, attempts, errors, last: () => attempts.at(-1)! }
}
