/**
 * Crash after crash under load, `npm run bench -- crash [KILLS] [ACKNOWLEDGED] [SEED]`: by default 100 and 1,000,000. First the
 * negative control: a store that acknowledges too early, whose losses must be found. Exits with 1 if that was not so, or if
 * anything of the real store was lost.
 */
import { crash } from '../store/crash.js'

const [kills = 100, acknowledged = 1_000_000, seed = Date.now() % 1_000_000_000] = process.argv.slice(3).map(Number)
const startedAt = performance.now()
const control = await crash({ kills: 10, seed, mode: 'hasty' })
console.log(`negative control, 10 kills: ${control.lost} of ${control.acknowledged.toLocaleString('en')} lost and found out`)
console.log(`at least ${kills} kills and ${acknowledged.toLocaleString('en')} acknowledged tasks, seed ${seed}`)
const report = await crash({ kills, acknowledged, seed, mode: 'load', maxLifeMs: 4000 })
console.log(report)
console.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
const { lost, cameBack, forgotten, faults } = report
process.exitCode = control.lost > 0 && lost + cameBack + forgotten + faults.length === 0 ? 0 : 1
