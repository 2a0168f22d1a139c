/**
 * Random changes of a durable store whose disk fails and whose process ends at any moment, against a model: `npm run bench -- model [N]`,
 * by default 500 sequences. SEED=n repeats one. Exits with 1, and the shortest sequence that fails, where store and model disagree.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { runScenario, scenario } from '../store/store-model.js'

const numRuns = Number(process.argv[3] ?? 500)
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'model-'))
const sums = { pending: 0, stored: 0, rejected: 0, unknown: 0 }
const startedAt = performance.now()
try {
  await fc.assert(fc.asyncProperty(scenario, async scenario => {
    const folder = mkdtempSync(join(root, 'run-'))
    const outcomes = await runScenario(scenario, folder)
    for (const outcome of ['stored', 'rejected', 'unknown'] as const) sums[outcome] += outcomes[outcome]
    rmSync(folder, { recursive: true })
  }), { seed, numRuns })
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  console.log(`SEED=${seed}: ${numRuns} sequences, ${sums.stored} changes stored, ${sums.rejected} rejected, ` +
    `${sums.unknown} under way when the process or the disk failed, ${seconds} s`)
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  rmSync(root, { recursive: true })
}
