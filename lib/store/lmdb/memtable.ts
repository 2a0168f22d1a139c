import type { Row, Table } from './record-format.js'

/** Changes of the records of one table, the last of each record only. */
interface Changes {
  /** Records that were not there before. One that is removed again leaves no trace. */
  readonly created: Map<string | number, Buffer>
  /** All others; undefined: removed. */
  readonly changed: Map<string | number, Buffer | undefined>
}

/** What a stretch of the journal comes to. */
export class Layer {
  readonly #tables: Readonly<Record<Table, Changes>> = { queues: noChanges(), tasks: noChanges(), states: noChanges(), names: noChanges() }
  /** What its records take. */
  bytes = 0

  get size (): number {
    let size = 0
    for (const { created, changed } of Object.values(this.#tables)) size += created.size + changed.size
    return size
  }

  add (rows: Iterable<Row>): void {
    for (const [table, key, value, isNew] of rows) {
      const { created, changed } = this.#tables[table]
      const bytes = ROW_BYTES + (value?.length ?? 0)
      const before = created.get(key)
      if (before !== undefined) this.bytes -= ROW_BYTES + before.length
      if (value === undefined && before !== undefined) {
        created.delete(key)
        continue
      }
      this.bytes += bytes
      if (value !== undefined && (isNew === true || before !== undefined)) created.set(key, value)
      else changed.set(key, value)
    }
  }

  /** The record; undefined when it is removed, null when nothing of it has changed. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    const { created, changed } = this.#tables[table]
    const value = created.get(key) ?? changed.get(key)
    return value === undefined && !changed.has(key) ? null : value
  }

  * rows (): Generator<Row, void> {
    for (const [table, { created, changed }] of Object.entries(this.#tables) as Array<[Table, Changes]>) {
      // A record that was removed and then made anew is in both.
      for (const [key, value] of changed) yield [table, key, value]
      for (const [key, value] of created) yield [table, key, value]
    }
  }
}

/**
 * What the journal has and the databases do not have yet. Two layers, so that one can be written to the databases while
 * the other takes what comes in.
 */
export class Memtable {
  #active = new Layer()
  /** The older one: complete, and on its way to the databases. */
  #flushing: Layer | undefined

  get active (): Layer {
    return this.#active
  }

  get flushing (): Layer | undefined {
    return this.#flushing
  }

  /** Whether the databases have everything. */
  get isEmpty (): boolean {
    return this.#active.size === 0 && this.#flushing === undefined
  }

  get bytes (): number {
    return this.#active.bytes + (this.#flushing?.bytes ?? 0)
  }

  /** The record; undefined when it is removed, null when the databases have its newest state. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    const value = this.#active.get(table, key)
    return value === null && this.#flushing !== undefined ? this.#flushing.get(table, key) : value
  }

  /** Completes a layer. To be called when there is no older one. */
  complete (): void {
    this.#flushing = this.#active
    this.#active = new Layer()
  }

  /** The databases have the older layer. */
  drop (): void {
    this.#flushing = undefined
  }
}

function noChanges (): Changes {
  return { created: new Map(), changed: new Map() }
}

/** What a row takes besides its value, roughly. */
const ROW_BYTES = 32
