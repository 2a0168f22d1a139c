/** Parses a duration such as `30s`, `1.5h`, `7d`, `250ms` or `0` to seconds; undefined when it is invalid. */
export function parseDuration (text: string): number | undefined {
  if (text === '0') return 0
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  return match === null ? undefined : Number(match[1]) * UNITS[match[2] as keyof typeof UNITS] / 1000
}

/** In milliseconds. */
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
