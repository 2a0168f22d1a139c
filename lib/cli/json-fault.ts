/** Where and why a text is no JSON. */
export interface JsonFault {
  /** Index of the first character that may not stand where it does; the text's length when it ends too early. */
  readonly at: number
  readonly expected: string
}

/**
 * The first fault of `text`; undefined when it is JSON. JSON.parse tells a position only for some faults, and in words that
 * change with the version of Node.js.
 */
export function jsonFault (text: string): JsonFault | undefined {
  let at = 0
  try {
    value()
    skip()
    if (at < text.length) fail('the end')
    return undefined
  } catch (error) {
    if (error instanceof Fault) return { at: error.at, expected: error.expected }
    throw error
  }

  function value (): void {
    // Nesting that is legal must not overflow the stack, so what is open is kept in a list.
    const open: Array<'{' | '['> = []
    for (;;) {
      skip()
      const character = text[at]
      if (character === '{' || character === '[') {
        at++
        skip()
        if (text[at] === (character === '{' ? '}' : ']')) at++
        else {
          open.push(character)
          if (character === '{') key()
          continue
        }
      } else if (character === '"') string()
      else if (!take(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y)) fail('a value')
      while (open.length > 0) {
        skip()
        const inside = open.at(-1)!
        if (text[at] === ',') {
          at++
          if (inside === '{') key()
          break
        }
        if (text[at] !== (inside === '{' ? '}' : ']')) fail(inside === '{' ? "',' or '}'" : "',' or ']'")
        at++
        open.pop()
      }
      if (open.length === 0) return
    }
  }

  function key (): void {
    skip()
    if (text[at] !== '"') fail('a name in double quotes')
    string()
    skip()
    if (text[at] !== ':') fail("':'")
    at++
  }

  function string (): void {
    at++
    // eslint-disable-next-line no-control-regex -- JSON wants these escaped
    while (take(/[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y));
    if (text[at] !== '"') fail(text[at] === '\\' ? 'an escape such as \\n' : 'the closing double quote')
    at++
  }

  function take (pattern: RegExp): boolean {
    pattern.lastIndex = at
    const [found] = pattern.exec(text) ?? []
    if (found === undefined) return false
    at += found.length
    return true
  }

  function skip (): void {
    take(/[ \t\n\r]+/y)
  }

  function fail (expected: string): never {
    throw new Fault(at, expected)
  }
}

class Fault extends Error {
  readonly at: number
  readonly expected: string

  constructor (at: number, expected: string) {
    super()
    this.at = at
    this.expected = expected
  }
}

/** The fault in words, with its line and a mark below it. */
export function tellFault (text: string, { at, expected }: JsonFault): string {
  const before = text.slice(0, at)
  const line = before.split('\n').length
  const start = before.lastIndexOf('\n') + 1
  const end = text.indexOf('\n', at)
  const from = Math.max(start, at - 60)
  const shown = text.slice(from, Math.min(end === -1 ? text.length : end, at + 30)).replaceAll(/[\t\r]/g, ' ')
  const found = at >= text.length ? 'the text ends' : `there is ${JSON.stringify(String.fromCodePoint(text.codePointAt(at)!))}`
  return `line ${line}, column ${at - start + 1}: expected ${expected}, but ${found}\n  ${shown}\n  ${' '.repeat(at - from)}^`
}
