import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '../..')
/** Files that have a process of their own. */
const alone = readFileSync(join(root, '.taprc'), 'utf8').match(/(?<=^ {2}- )test\/.*\.test\.ts$/gm)!

/**
 * Runs the test files of folders of test/, and of the folders in them, one after the other in this process, except for those that
 * .taprc names. To load Fastify and the package takes a second of CPU time, more than most files need for their tests.
 */
export async function runTogether (...folders: readonly string[]): Promise<void> {
  const files = folders.flatMap(folder => readdirSync(join(root, folder), { recursive: folder !== 'test', encoding: 'utf8' })
    .map(file => join(folder, file))
    .filter(file => file.endsWith('.test.ts') && !alone.includes(file))
    .sort())
  for (const file of files) {
    // Begins when the tests of the file before have ended. Within a test, as the runner ends a process that has none for a moment.
    await t.test(file, async () => { await import(join(root, file)) })
  }
}
