import { Damage, META_PAGES } from './page.js'

/** In a list by page: a database has it. */
export const IN_USE = 1
const FREE = 2

/** The pages of a file that lmdb may write to. */
export class FreeList {
  /** Runs of pages: the first, then how many. */
  readonly #runs: number[] = []

  /**
   * Notes what a value of the list says: how many numbers follow, then those of free pages. 0 is a gap, and a negative one the length of
   * the run that the next begins.
   */
  add (value: Buffer): void {
    const count = value.length < 8 ? NaN : Number(value.readBigUInt64LE(0))
    if (!(8 * (count + 1) <= value.length)) throw new Damage(DAMAGED)
    let length = 1
    for (let at = 8; at <= 8 * count; at += 8) {
      const page = Number(value.readBigInt64LE(at))
      if (page > 0) this.#runs.push(page, length)
      length = page < 0 ? -page : 1
    }
  }

  /**
   * Throws where lmdb would write over a page that is in use, or use one twice.
   * @param used by page; marks what is free
   * @param lastPage behind which lmdb takes new pages
   */
  check (used: Uint8Array, lastPage: number): void {
    if (used.lastIndexOf(IN_USE) > lastPage || lastPage > used.length + MAX_PAGES_AHEAD) throw new Damage('its last page makes no sense')
    for (let i = 0; i < this.#runs.length; i += 2) {
      const [first, length] = [this.#runs[i]!, this.#runs[i + 1]!]
      if (first < META_PAGES || first + length - 1 > lastPage) throw new Damage(DAMAGED)
      // Free pages at the end need not be in the file, nor then in the list.
      for (let page = first; page < first + length; page++) {
        if (used[page] === IN_USE) throw new Damage(`page ${page} counts as free and is in use`)
        if (used[page] === FREE) throw new Damage(`page ${page} counts as free twice`)
        used[page] = FREE
      }
    }
  }
}

const DAMAGED = 'the list of free pages is damaged'
/** More than one commit takes. */
const MAX_PAGES_AHEAD = 65_536
