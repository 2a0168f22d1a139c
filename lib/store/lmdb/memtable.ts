import type { Row, Table } from './record-format.js'

/** The latest change of each record of a table. */
interface Changes {
  /** New records. A removal undoes them. */
  readonly created: Map<string | number, Buffer | undefined>
  /** Changes of existing records; undefined: removed. */
  readonly changed: Map<string | number, Buffer | undefined>
}

/** The net changes of a part of the journal. */
export class Layer {
  readonly #tables: Readonly<Record<Table, Changes>> = { queues: noChanges(), tasks: noChanges(), states: noChanges(), names: noChanges() }
  /** Size of its records in bytes. */
  bytes = 0

  get size (): number {
    let size = 0
    for (const { created, changed } of Object.values(this.#tables)) size += created.size + changed.size
    return size
  }

  add (rows: Iterable<Row>): void {
    for (const [table, key, value, isNew] of rows) {
      const { created, changed } = this.#tables[table]
      const before = created.get(key)
      if (before !== undefined) {
        this.bytes -= ROW_BYTES + before.length
        if (value === undefined) {
          created.delete(key)
          continue
        }
      }
      this.bytes += ROW_BYTES + (value?.length ?? 0)
      const changes = isNew === true || before !== undefined ? created : changed
      changes.set(key, value)
    }
  }

  /** The record; undefined if it is removed, null if it has not changed. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    const { created, changed } = this.#tables[table]
    const value = created.get(key) ?? changed.get(key)
    return value === undefined && !changed.has(key) ? null : value
  }

  * rows (): Generator<Row, void> {
    for (const [table, { created, changed }] of Object.entries(this.#tables) as Array<[Table, Changes]>) {
      // A record that was removed and created again is in both.
      for (const [key, value] of changed) yield [table, key, value]
      for (const [key, value] of created) yield [table, key, value]
    }
  }
}

/**
 * Changes that are in the journal but not yet in the databases. It has two layers, so that one can be flushed to the databases while the
 * other accepts changes.
 */
export class Memtable {
  #active = new Layer()
  /** The older layer: complete, and being flushed to the databases. */
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

  /** The record; undefined if it is removed, null if the databases have its newest state. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    const value = this.#active.get(table, key)
    return value === null && this.#flushing !== undefined ? this.#flushing.get(table, key) : value
  }

  /** Completes the active layer. Requires that no layer is being flushed. */
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

/** Approximate overhead of a row in bytes. */
const ROW_BYTES = 32
