/** What the benchmarks share: medians and percentiles of numbers measured in one run. */

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

/** Starts watching the event loop; the function it returns stops and tells the longest time between two of its turns in ms. */
export function longestPause (): () => number {
  let longest = 0
  let last = performance.now()
  let immediate = setImmediate(function look () {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    immediate = setImmediate(look)
  })
  return () => {
    clearImmediate(immediate)
    return longest
  }
}
