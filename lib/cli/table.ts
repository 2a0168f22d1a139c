/** A table with columns as wide as their longest cell, headings first, one line per row. */
export function table (headings: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const all = [headings, ...rows]
  const widths = headings.map((_, column) => all.reduce((width, row) => Math.max(width, row[column]!.length), 0))
  return all.map(row => `${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()}\n`).join('')
}

/** Untrusted text on one line, with control and bidirectional characters escaped for terminals. */
export function printable (text: string): string {
  return text.replace(/\s*[\r\n]\s*/g, ' ').replace(OBEYED, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Like `JSON.stringify`, with control characters escaped for terminals. */
export function printJson (value: unknown): string {
  return JSON.stringify(value, null, 2).replace(OBEYED_IN_JSON, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const BIDIRECTIONAL = '\\u007f-\\u009f\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069'
const OBEYED = new RegExp(`[\\u0000-\\u001f${BIDIRECTIONAL}]`, 'g')
const OBEYED_IN_JSON = new RegExp(`[${BIDIRECTIONAL}]`, 'g')
