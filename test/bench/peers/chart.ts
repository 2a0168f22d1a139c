/** A panel of horizontal bars, one for each contender. */
export interface Panel {
  readonly title: string
  /** Set for quantities of which less is better. Their bars are logarithmic, because they spread over powers of ten. */
  readonly lessIsBetter?: true
  readonly bars: ReadonlyArray<{ readonly label: string, readonly value: number, readonly text: string }>
}

/** An SVG with the colours of the reader's scheme; it brings its own background, so it is readable wherever it stands. */
export function barChart (panels: readonly Panel[], caption: string): string {
  let y = MARGIN
  const parts = panels.map(panel => {
    const top = y
    y += TITLE + panel.bars.length * ROW + GAP
    return draw(panel, top)
  })
  const height = y + MARGIN
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(caption)}" font-family="system-ui, sans-serif" font-size="13">
<style>
  .ground { fill: #ffffff } text { fill: #1f2328 } .note { fill: #59636e; font-size: 11px } .title { font-weight: 600 } .bar { fill: #9aa4af } .own { fill: #0b7a75 }
  @media (prefers-color-scheme: dark) { .ground { fill: #0d1117 } text { fill: #e6edf3 } .note { fill: #9198a1 } .bar { fill: #545d68 } .own { fill: #3fb8b0 } }
</style>
<rect class="ground" width="${WIDTH}" height="${height}" rx="6"/>
${parts.join('\n')}
<text class="note" x="${MARGIN}" y="${height - MARGIN / 2}">${escape(caption)}</text>
</svg>
`
}

function draw ({ title, bars, lessIsBetter }: Panel, top: number): string {
  const most = Math.max(...bars.map(bar => bar.value))
  const least = Math.min(...bars.map(bar => bar.value))
  // A tenth of the least, so that the shortest bar is still one.
  const share = lessIsBetter === true
    ? (value: number) => Math.log(value / least * 10) / Math.log(most / least * 10)
    : (value: number) => value / most
  const rows = bars.map(({ label, value, text }, index) => {
    const y = top + TITLE + index * ROW
    const length = Math.max(1, Math.round(share(value) * BARS))
    return `<text x="${MARGIN + LABELS - 8}" y="${y + 14}" text-anchor="end">${escape(label)}</text>` +
      `<rect class="bar${index === 0 ? ' own' : ''}" x="${MARGIN + LABELS}" y="${y + 2}" width="${length}" height="${ROW - 5}" rx="2"/>` +
      `<text x="${MARGIN + LABELS + length + 6}" y="${y + 14}">${escape(text)}</text>`
  })
  const note = lessIsBetter === true ? 'less is better, logarithmic' : 'more is better'
  return `<text class="title" x="${MARGIN}" y="${top + 14}">${escape(title)} <tspan class="note" font-weight="400">${note}</tspan></text>\n${rows.join('\n')}`
}

function escape (text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

const WIDTH = 760
const MARGIN = 20
const LABELS = 210
const BARS = 420
const TITLE = 24
const ROW = 21
const GAP = 16
