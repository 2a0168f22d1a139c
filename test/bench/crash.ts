/** Crash after crash under load, `npm run bench -- crash [KILLS] [ACKNOWLEDGED] [SEED]`: by default 100 and 1,000,000. Exits with 1 if anything was lost. */
import { crash } from '../engine/crash.js'

const [kills = 100, acknowledged = 1_000_000, seed = Date.now() % 1_000_000_000] = process.argv.slice(3).map(Number)
console.log(`at least ${kills} kills and ${acknowledged.toLocaleString('en')} acknowledged tasks, seed ${seed}`)
const startedAt = performance.now()
const report = await crash({ kills, acknowledged, seed, mode: 'load', maxLifeMs: 4000 })
console.log(report)
console.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
const { lost, cameBack, forgotten, faults } = report
process.exitCode = lost + cameBack + forgotten + faults.length === 0 ? 0 : 1
