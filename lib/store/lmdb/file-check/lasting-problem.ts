import { statSync } from 'node:fs'
import { systemClock } from '../../../clock/clock.js'
import { lmdbFileProblem } from './lmdb-file.js'

/**
 * What is wrong with the file. A former holder that this process cannot see may be at its last commit when the file is looked at, so
 * what is wrong counts only once the file has not changed for a while.
 */
export async function lastingProblem (
  file: string, databases: readonly string[], onPages: (done: number, total: number) => void
): Promise<string | undefined> {
  for (let before = '', problem: string | undefined; ;) {
    const state = stateOf(file)
    if (problem !== undefined && state === before) return problem
    before = state
    problem = await lmdbFileProblem(file, databases, onPages)
    if (problem === undefined) return undefined
    await new Promise<void>(resolve => { systemClock.setTimeout(resolve, REST_MS) })
  }
}

function stateOf (file: string): string {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stats === undefined ? '' : `${stats.ino} ${stats.size} ${stats.mtimeNs}`
}

/** How long a file must rest until it counts as damaged. */
const REST_MS = 200
