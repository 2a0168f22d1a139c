/**
 * What becomes of a damaged store: `npm run bench -- damage [TRIALS] [SEED]`. Flips bits, zeroes sectors, cuts, empties, removes files and
 * swaps them for older copies, and prints for each kind how often it was refused, noticed when the task was read, did no harm, or was not
 * noticed.
 */
import { damage } from '../store/damage.js'

const trials = Number(process.argv[3] ?? 2000)
const seed = Number(process.argv[4] ?? Date.now() % 1_000_000)
console.log(`${trials} trials, seed ${seed}`)
const { refused, sound, noticed, unnoticed, raw, crashed } = await damage(trials, seed)
console.log('| damage | refused at opening | noticed when read | harmless | not noticed |')
console.log('|---|---|---|---|---|')
for (const what of [...new Set([refused, sound, noticed, unnoticed].flatMap(counts => Object.keys(counts)))].sort()) {
  const { trials: times = 0, lost = 0, changed = 0 } = unnoticed[what] ?? {}
  const worst = times > 0 ? ` (at most ${lost} of 2500 tasks missing, ${changed} with another payload)` : ''
  console.log(`| ${what} | ${refused[what] ?? 0} | ${noticed[what] ?? 0} | ${sound[what] ?? 0} | ${times}${worst} |`)
}
console.log(`crashes: ${crashed.join('; ') || 'none'}; errors that are not the store's: ${raw.join('; ') || 'none'}`)
