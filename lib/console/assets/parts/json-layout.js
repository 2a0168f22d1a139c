/** Formats JSON text. Returns pieces `{ kind?, text }`, whose concatenation is the formatted text. */
export function layout (text) {
  const pieces = []
  let depth = 0
  let open = false
  const line = () => { pieces.push({ text: `\n${'  '.repeat(Math.max(0, depth))}` }) }
  for (const [token, string, colon] of text.matchAll(TOKEN)) {
    if (/^\s+$/.test(token)) continue
    const closes = token === '}' || token === ']'
    if (closes) depth--
    // No line break between the brackets of an empty value.
    if (closes ? !open : open) line()
    open = token === '{' || token === '['
    if (open) depth++
    if (string !== undefined) pieces.push({ kind: colon === undefined ? 'string' : 'key', text: string })
    if (colon !== undefined) pieces.push({ text: ': ' })
    if (string === undefined) pieces.push(/^[{}[\],]$/.test(token) ? { text: token } : { kind: 'value', text: token })
    if (token === ',') line()
  }
  return pieces
}

/** A string, with its colon if it is a key; a bracket or comma; spaces; anything else. */
const TOKEN = /("(?:[^"\\]|\\.)*"?)(\s*:)?|[{}[\],]|\s+|[^\s{}[\],"]+/gs
