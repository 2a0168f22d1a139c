/**
 * One bucket for each second until `second`. Missing seconds had no events, and the same number of waiting tasks as before.
 */
export function fill (buckets, second) {
  const known = new Map(buckets.map(bucket => [bucket.at, bucket]))
  const first = second - (SECONDS - 1) * 1000
  let waiting = buckets.findLast(({ at }) => at < first)?.waiting ?? 0
  return Array.from({ length: SECONDS }, (_, index) => {
    const at = first + index * 1000
    const bucket = known.get(at) ?? { at, arrived: 0, succeeded: 0, failed: 0, waiting }
    waiting = bucket.waiting
    return bucket
  })
}

/** At most `most` columns with the same number of seconds, aligned to fixed times. */
export function gather (seconds, most) {
  const size = SIZES.find(size => SECONDS / size <= most) ?? SECONDS
  const columns = []
  for (const { at, arrived, succeeded, failed, waiting } of seconds) {
    const start = Math.floor(at / 1000 / size) * size * 1000
    let last = columns.at(-1)
    if (last?.at !== start) columns.push(last = { at: start, seconds: size, arrived: 0, succeeded: 0, failed: 0, waiting: 0 })
    last.arrived += arrived
    last.succeeded += succeeded
    last.failed += failed
    last.waiting = waiting
  }
  return columns
}

/** Rounds up to a number that suits a scale. */
export function nice (value) {
  if (value <= 1) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 4, 5, 10].map(step => step * power).find(step => step >= value)
}

const SECONDS = 300
const SIZES = [2, 3, 5, 10, 15, 60]
