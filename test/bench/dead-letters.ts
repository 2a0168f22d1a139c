/**
 * Kills between each two steps of postponing, keeping, replaying and discarding, `npm run bench -- dead-letters [KILLS] [SEED] [PLACE]`:
 * by default 240, three quarters of them of an embedded queue on a directory, the others of workers of an emulator (PLACE, `embedded` or
 * `emulator`, is one of the two alone); half of them at a step, the others at a random time; before them a few of a store that
 * acknowledges letters too early, whose losses must be found. Exits with 1 if that was not so, if an exhausted task is missing from the
 * dead letters, a postponed one is lost or doubled, or a letter that was discarded is back.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { killAndCheck, killsAt, transpileChild, type KillReport } from '../dead-letters/kill.js'

const [kills = 240, seed = Date.now() % 1_000_000_000] = process.argv.slice(3, 5).map(Number)
const only = process.argv[5]
const startedAt = performance.now()
let state = seed
const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
const folder = await mkdtemp(join(tmpdir(), 'kills-'))
console.log(`${kills} kills, seed ${seed}`)
try {
  const program = await transpileChild(folder)
  const control = await killAndCheck({ place: 'embedded', mode: 'hasty', kills: Array<string>(4).fill('after:letter:9') }, program)
  console.log(`negative control, ${control.kills} kills: ${control.faults.length} faults in ${control.tasks} tasks were found`)
  const share = (place: 'embedded' | 'emulator', part: number) => only === undefined ? kills * part : only === place ? kills : 0
  const shares = [killAll('embedded', share('embedded', 3 / 4), program), killAll('emulator', share('emulator', 1 / 4), program)] as const
  const [embedded, emulator] = await Promise.all(shares)
  console.log({ embedded, emulator })
  process.exitCode = control.faults.length > 0 && embedded.faults.length + emulator.faults.length === 0 ? 0 : 1
} finally {
  await rm(folder, { recursive: true })
}
console.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s`)

/** A new directory or emulator for every twelve kills. */
async function killAll (place: 'embedded' | 'emulator', count: number, program: string): Promise<KillReport> {
  const none = { kills: 0, atSteps: 0, tasks: 0, letters: 0, replays: 0, discards: 0, postponements: 0, cutOff: 0 }
  const total: KillReport = { ...none, faults: [] }
  // Each step in turn, so that all are tried.
  const steps = killsAt(place, [1, 3, 8, 20])
  let next = 0
  while (total.kills < count) {
    const chosen = Array.from({ length: 12 }, (_, at) => {
      if (at % 2 === 0) return steps[next++ % steps.length]!
      return at % 6 === 1 ? random() * 400 : `any:${Math.ceil(random() * 400)}:${(random() * 5).toFixed(1)}`
    })
    const { faults, ...figures } = await killAndCheck({ place, kills: chosen }, program)
    for (const [key, value] of Object.entries(figures)) total[key as keyof typeof figures] += value
    total.faults.push(...faults)
    for (const fault of faults) console.log(`  ${fault}`)
    console.log(`${place}: ${total.kills} kills, ${total.tasks} tasks, ${total.faults.length} faults`)
  }
  return total
}
