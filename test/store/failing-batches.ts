import * as lmdb from 'lmdb'
import type { Database, RootDatabase } from 'lmdb'
import { isOutOfSpace, type StoreProblem } from '../../lib/store/store-error.js'

export interface BatchFault {
  /** LMDB's own code, or the system's number. */
  readonly code: number
  /** Number of transactions that succeed before. */
  readonly after: number
  readonly times: number
  /** Whether the transaction is committed nevertheless, as when only the last sync fails. */
  readonly isWritten: boolean
  /** Whether LMDB begins no transaction afterwards, as when its last write fails: lmdb never settles the promise of one. */
  readonly isLast: boolean
}

/** LMDB's transactions of a store, which fail, or wait, as a test says: the first of a run, a recovery, flushes and the last one. */
export class FailingBatches {
  /** What a store that is being opened must be rejected with, as one of them has failed. */
  openingProblem: StoreProblem | undefined
  /** Whether one has failed, so that nothing more must be stored. */
  isBroken = false
  readonly #released: () => Promise<void>
  readonly #surprises: Error[]
  #fault: BatchFault | undefined
  #successesLeft = 0
  #failuresLeft = 0
  #isEnded = false
  /** One after another. */
  #aborts = 0

  /**
   * @param released resolves when a transaction may begin
   * @param surprises gets what a store must not do
   */
  constructor (released: () => Promise<void>, surprises: Error[]) {
    this.#released = released
    this.#surprises = surprises
  }

  fail (fault: BatchFault): void {
    this.#fault = fault
    this.#successesLeft = fault.after
    this.#failuresLeft = fault.times
  }

  /** Those of the store whose databases are opened next. */
  attach (): void {
    const { allDbs } = lmdb as unknown as { readonly allDbs: Map<string, Database> }
    allDbs.set = (name, database) => {
      Map.prototype.set.call(allDbs, name, database)
      if (name !== 'tasks-journal') return allDbs
      Reflect.deleteProperty(allDbs, 'set')
      this.#attachTo(allDbs.get('tasks') as RootDatabase, database)
      return allDbs
    }
  }

  #attachTo (root: RootDatabase, journal: Database): void {
    const begin = root.transactionSync.bind(root)
    root.transactionSync = action => {
      root.transactionSync = (next, flags) => {
        if (this.#isEnded) throw Object.assign(new Error('MDB_PANIC'), { code: -30_795 })
        return begin(next, flags)
      }
      const fault = this.#next()
      const result = fault?.isWritten === false ? undefined : begin(action)
      if (fault === undefined) return result!
      this.openingProblem = isOutOfSpace(fault) ? 'full' : 'access'
      throw errorOf(fault)
    }
    const write = journal.ifVersion.bind(journal) as (...args: Parameters<Database['ifVersion']>) => Promise<boolean>
    journal.ifVersion = async (...args: Parameters<Database['ifVersion']>) => {
      await this.#released()
      if (this.#isEnded) {
        this.#surprises.push(new Error('a transaction whose promise lmdb never settles'))
        throw new Error('it would never be settled')
      }
      const fault = this.#next()
      if (fault === undefined) this.#aborts = 0
      // As a real one, a failure is not within a turn of the event loop.
      const result = fault?.isWritten === false ? await nextTurn() : await write(...args)
      if (fault === undefined) return result!
      this.#note(fault)
      throw Object.assign(new Error('Commit failed'), { commitError: Promise.reject(errorOf(fault)) })
    }
  }

  #next (): BatchFault | undefined {
    if (this.#failuresLeft === 0) return undefined
    if (this.#successesLeft > 0) {
      this.#successesLeft--
      return undefined
    }
    this.#failuresLeft--
    return this.#fault
  }

  #note (fault: BatchFault): void {
    this.#aborts = fault.code === MDB_BAD_TXN ? this.#aborts + 1 : 0
    if (this.#aborts > 0 && this.#aborts < ATTEMPTS) return
    this.#isEnded = fault.isLast
    const isFull = isOutOfSpace(fault) && !fault.isLast
    this.openingProblem = isFull ? 'full' : 'broken'
    this.isBroken ||= !isFull
  }
}

function errorOf ({ code }: BatchFault): Error {
  return Object.assign(new Error(`LMDB fails with ${code}`), { code })
}

function nextTurn (): Promise<undefined> {
  return new Promise(resolve => { setImmediate(() => { resolve(undefined) }) })
}

/** LMDB has aborted a transaction over its free pages: it is repeated in smaller ones. */
export const MDB_BAD_TXN = -30_782
/** With all rows, and with a 4th, a 16th and a 64th of them. */
const ATTEMPTS = 4
