/** What the benchmarks share: medians and percentiles of numbers measured in one run. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export function median (values: readonly number[]): number {
  return percentile(values, 50)
}

export function percentile (values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * percent / 100))] ?? NaN
}

/** Runs `work` for each number below `count`, `width` of them at a time. */
export async function inFlight (count: number, width: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: width }, worker))
}

export function perSecond (count: number, ms: number): number {
  return Math.round(count / ms * 1000)
}

/**
 * Starts watching the event loop. The function it returns stops and gives the longest time between two of its turns in ms,
 * and the most CPU time that this thread took in one, where the system reports that (Linux): other work on the machine adds to
 * the first and not to the second.
 */
export function longestPause (): () => { ms: number, cpuMs: number } {
  let [ms, cpuMs, last] = [0, 0, performance.now()]
  let [lookedAt, cpuBefore] = [last, threadCpuMs()]
  let immediate = setImmediate(function look () {
    const now = performance.now()
    // Asked for now and then only: it takes longer than a turn.
    if (now - lookedAt > 1) {
      const cpu = threadCpuMs()
      cpuMs = Math.max(cpuMs, cpu - cpuBefore);
      [lookedAt, cpuBefore] = [now, cpu]
    }
    ms = Math.max(ms, now - last)
    last = now
    immediate = setImmediate(look)
  })
  return () => {
    clearImmediate(immediate)
    return { ms, cpuMs }
  }
}

/** Compiles the package into `folder`, a module for each, so that no loader of TypeScript stands between. */
export function compile (folder: string): void {
  const flags = ['--emitDeclarationOnly', 'false', '--declaration', 'false', '--outDir', folder]
  execFileSync(process.execPath, ['node_modules/typescript-native/bin/tsc', '-p', 'tsconfig.build.json', ...flags], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: 'inherit'
  })
}

/** Of the main thread, which has the process's own id. */
function threadCpuMs (): number {
  if (process.platform !== 'linux') return NaN
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6
}
