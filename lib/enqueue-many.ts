import { isPlainObject } from './checks.js'
import { nextTurn } from './clock/clock.js'
import type { BatchEvent, EnqueueResult, Prepared, Producer } from './enqueue.js'
import type { EnqueueOptions } from './enqueue-options.js'
import { FST_TASKS_INVALID_ENQUEUE_OPTION } from './errors.js'
import type { RegisteredTask } from './registry/registry.js'
import type { Transport } from './transport/transport.js'

export interface EnqueueItem<P> extends EnqueueOptions {
  readonly payload: P
}

export type EnqueueResults = Array<PromiseSettledResult<EnqueueResult>>

export interface BulkParts {
  readonly producer: Producer
  readonly transport: Transport
  /** Maximum number of concurrent calls of the transport, and of an asynchronous validator. */
  readonly concurrency: number
}

/**
 * Implements `Tasks.enqueueMany`.
 * @throws FST_TASKS_INVALID_ENQUEUE_OPTION when `items` is not a list; errors of its iterator
 */
export async function enqueueMany (parts: BulkParts, task: RegisteredTask, items: unknown): Promise<EnqueueResults> {
  if (typeof items !== 'object' || items === null || !(Symbol.iterator in items)) {
    throw new FST_TASKS_INVALID_ENQUEUE_OPTION(task.name, 'the items must be a list of { payload, ...options }')
  }
  const iterator = (items as Iterable<unknown>)[Symbol.iterator]()
  return await parts.producer.batch(task.name, async event => {
    const bulk = new Bulk(parts, task, event)
    const send = parts.transport.createTasks === undefined ? bulk.sendEach : bulk.sendChunks
    await send.call(bulk, iterator)
    return bulk.results
  })
}

class Bulk {
  readonly results: EnqueueResults = []
  readonly #parts: BulkParts
  readonly #task: RegisteredTask
  readonly #event: BatchEvent | undefined
  #count = 0

  constructor (parts: BulkParts, task: RegisteredTask, event: BatchEvent | undefined) {
    this.#parts = parts
    this.#task = task
    this.#event = event
  }

  /** One call per task, with limited concurrency. */
  async sendEach (iterator: Iterator<unknown>): Promise<void> {
    const { producer, transport, concurrency } = this.#parts
    const worker = async (): Promise<void> => {
      for (let step = iterator.next(); step.done !== true; step = iterator.next()) {
        const index = this.#count++
        try {
          const prepared = await this.#prepare(step.value)
          this.#fulfil(index, producer.resultOf(prepared, await transport.createTask(prepared.queue, prepared.outgoing)))
        } catch (reason) {
          this.#reject(index, reason)
        }
      }
    }
    const ends = await Promise.allSettled(Array.from({ length: concurrency }, worker))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  /** One write per chunk. The next chunk is read and checked during the write. */
  async sendChunks (iterator: Iterator<unknown>): Promise<void> {
    let sending: Promise<void> = Promise.resolve()
    let failure: { readonly error: unknown } | undefined
    for (let isLast = false; !isLast;) {
      const chunk: Item[] = []
      try {
        isLast = await this.#fill(chunk, iterator)
      } catch (error) {
        // Items that were read before are enqueued.
        failure = { error }
        isLast = true
      }
      await sending
      sending = this.#sendChunk(chunk)
      // A store in memory does not yield to the event loop.
      if (!isLast) await nextTurn()
    }
    await sending
    if (failure !== undefined) throw failure.error
  }

  /** Reads and checks a chunk. Resolves with whether it is the last one. */
  async #fill (chunk: Item[], iterator: Iterator<unknown>): Promise<boolean> {
    const checks: Array<Promise<void>> = []
    try {
      for (let read = 0, bytes = 0; read < CHUNK_ITEMS && bytes < CHUNK_BYTES; read++) {
        const step = iterator.next()
        if (step.done === true) return true
        const item: Item = { index: this.#count++, prepared: undefined }
        chunk.push(item)
        try {
          const prepared = this.#prepare(step.value)
          if (prepared instanceof Promise) {
            checks.push(this.#check(item, prepared))
            if (checks.length === this.#parts.concurrency) await Promise.all(checks.splice(0))
          } else {
            item.prepared = prepared
          }
          bytes += item.prepared?.outgoing.body.length ?? 0
        } catch (reason) {
          this.#reject(item.index, reason)
        }
      }
      return false
    } finally {
      await Promise.all(checks)
    }
  }

  async #check (item: Item, prepared: Promise<Prepared>): Promise<void> {
    try {
      item.prepared = await prepared
    } catch (reason) {
      this.#reject(item.index, reason)
    }
  }

  async #sendChunk (chunk: readonly Item[]): Promise<void> {
    const queues = new Map<string, ReadyItem[]>()
    for (const item of chunk) {
      if (!isReady(item)) continue
      const items = queues.get(item.prepared.queue)
      if (items === undefined) queues.set(item.prepared.queue, [item])
      else items.push(item)
    }
    await Promise.all(Array.from(queues, async ([queue, items]) => { await this.#sendTo(queue, items) }))
  }

  async #sendTo (queue: string, items: readonly ReadyItem[]): Promise<void> {
    const { producer, transport } = this.#parts
    const tasks = items.map(({ prepared }) => prepared.outgoing)
    // A test kit may have released the transport in the meantime.
    const sent = await (transport.createTasks?.(queue, tasks) ??
      Promise.all(tasks.map(async task => await transport.createTask(queue, task))))
    for (const [position, { index, prepared }] of items.entries()) {
      try {
        this.#fulfil(index, producer.resultOf(prepared, sent[position]!))
      } catch (reason) {
        this.#reject(index, reason)
      }
    }
  }

  #prepare (item: unknown): Prepared | Promise<Prepared> {
    const { name } = this.#task
    if (!isPlainObject(item) || !Object.hasOwn(item, 'payload')) {
      throw new FST_TASKS_INVALID_ENQUEUE_OPTION(name, 'an item must be an object with a payload: { payload, ...options }')
    }
    const { payload, ...options } = item
    return this.#parts.producer.prepare(this.#task, payload, options, this.#event)
  }

  #fulfil (index: number, value: EnqueueResult): void {
    this.results[index] = { status: 'fulfilled', value }
  }

  #reject (index: number, reason: unknown): void {
    this.results[index] = { status: 'rejected', reason }
    this.#event?.failures.push(reason)
  }
}

interface Item {
  readonly index: number
  /** Undefined if the item was rejected, or is still being checked. */
  prepared: Prepared | undefined
}

type ReadyItem = Item & { readonly prepared: Prepared }

function isReady (item: Item): item is ReadyItem {
  return item.prepared !== undefined
}

/** Number of items that are checked in one turn of the event loop: about 5 ms. */
const CHUNK_ITEMS = 500
const CHUNK_BYTES = 1024 * 1024
