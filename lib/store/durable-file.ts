import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Writes a small file durably and atomically: after a crash, and for other processes, it is either the old or the new one. */
export function replaceFile (file: string, text: string, mode: number): void {
  writeDraft(file, text, mode, draft => { renameSync(draft, file) })
}

/** Like `replaceFile`, but does not replace an existing file, even one that is created in the meantime. */
export function createFile (file: string, text: string, mode: number): void {
  writeDraft(file, text, mode, draft => {
    try {
      linkSync(draft, file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    rmSync(draft)
  })
}

/** Syncs the entries of a directory. */
export function syncDirectory (directory: string): void {
  // Not needed on Windows, where entries are durable with their files.
  if (process.platform === 'win32') return
  const fd = openSync(directory, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Writes a temporary file next to the target; `place` moves it there. */
function writeDraft (file: string, text: string, mode: number, place: (draft: string) => void): void {
  const draft = join(dirname(file), `.${basename(file)}-${randomUUID()}`)
  try {
    // 'wx' does not follow links.
    writeFileSync(draft, text, { flush: true, flag: 'wx', mode })
    place(draft)
  } catch (error) {
    rmSync(draft, { force: true })
    throw error
  }
  syncDirectory(dirname(file))
}
