import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import type { JournalFile } from '../../lib/store/journal-file.js'

/** A file of a journal that is not synced, because a test needs no durable one. */
export async function unsyncedFile (path: string): Promise<JournalFile> {
  const fd = openSync(path, 'wx')
  return {
    write: async (bytes, position) => { writeSync(fd, bytes, 0, bytes.length, position) },
    truncate: async size => { ftruncateSync(fd, size) },
    close: async () => { closeSync(fd) }
  }
}
