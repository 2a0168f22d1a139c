import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { transpile } from '../support/transpile.js'

export interface DamageReport {
  /** How many trials ended so, by what was done to which file. */
  readonly refused: Record<string, number>
  readonly sound: Record<string, number>
  /** Opened with all tasks, one of which was refused with its name when it was read. */
  readonly noticed: Record<string, number>
  /** Opened although tasks were missing or changed, and how many at most. */
  readonly unnoticed: Record<string, { trials: number, lost: number, changed: number }>
  /** An error that is not the store's own. */
  readonly raw: string[]
  /** The process died. */
  readonly crashed: string[]
}

/** Damages a store `trials` times, and opens what is left in a process of its own, which may die of it. */
export async function damage (trials: number, seed: number): Promise<DamageReport> {
  const report: DamageReport = { refused: {}, sound: {}, noticed: {}, unnoticed: {}, raw: [], crashed: [] }
  const folder = await mkdtemp(join(tmpdir(), 'damage-'))
  try {
    const program = join(folder, 'program')
    await transpile(program, 'test/store/damage-child.ts')
    for (let next = 0; next < trials;) {
      const child = spawn(process.execPath, [join(program, 'test/store/damage-child.js'), folder, String(next), String(trials), String(seed)],
        { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env['PATH'] } })
      const exited = new Promise<string>(resolve => { child.once('exit', (code, signal) => { resolve(signal ?? String(code)) }) })
      let open: string | undefined
      for await (const line of createInterface({ input: child.stdout })) {
        const { trial, what, begun, verdict, lost, changed, message } = JSON.parse(line) as Record<string, string> & { trial: number }
        open = begun === undefined ? undefined : what
        if (begun !== undefined) continue
        next = trial + 1
        count(report, what!, verdict!, Number(lost ?? 0), Number(changed ?? 0), message)
      }
      const end = await exited
      if (end === '0') break
      if (open === undefined) throw new Error(`the process ended with ${end}`)
      report.crashed.push(`${open}: ${end}`)
      next++
    }
    return report
  } finally {
    await rm(folder, { recursive: true })
  }
}

function count (report: DamageReport, what: string, verdict: string, lost: number, changed: number, message?: string): void {
  if (verdict === 'raw') report.raw.push(`${what}: ${message}`)
  else if (verdict === 'unnoticed') {
    const before = report.unnoticed[what]
    report.unnoticed[what] = {
      trials: (before?.trials ?? 0) + 1, lost: Math.max(before?.lost ?? 0, lost), changed: Math.max(before?.changed ?? 0, changed)
    }
  } else {
    const counts = report[verdict as 'refused' | 'sound' | 'noticed']
    counts[what] = (counts[what] ?? 0) + 1
  }
}
