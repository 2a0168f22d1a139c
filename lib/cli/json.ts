import type { ParseError } from 'jsonc-parser'

/**
 * Like JSON.parse, whose messages contain a location only for some errors, and depend on the version of Node.js.
 * @throws SyntaxError with the line, and a mark at the first invalid character
 */
export async function parseJson (text: string): Promise<unknown> {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new SyntaxError(await syntaxProblem(text) ?? (error as Error).message, { cause: error })
  }
}

/** Undefined if the text is nested too deeply for the parser. */
async function syntaxProblem (text: string): Promise<string | undefined> {
  const { default: { parse, printParseErrorCode } } = await import('jsonc-parser')
  const errors: ParseError[] = []
  try {
    parse(text, errors, { disallowComments: true, allowEmptyContent: false })
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
  const [first, second] = errors.map(({ error, offset }) => ({ expected: EXPECTED[printParseErrorCode(error)], offset }))
  if (first === undefined) return undefined
  const { offset } = first
  // For a word that is not JSON, the next error says what should be there.
  const expected = first.expected ?? second?.expected
  const problem = expected === undefined ? 'unexpected' : `expected ${expected}, found`
  return `${place(text, offset)}: ${problem} ${found(text, offset)}\n${marked(text, offset)}`
}

/** By error code of jsonc-parser. */
const EXPECTED: Readonly<Record<string, string>> = {
  ValueExpected: 'a value',
  PropertyNameExpected: 'a name in double quotes',
  ColonExpected: "':'",
  CommaExpected: "','",
  CloseBraceExpected: "',' or '}'",
  CloseBracketExpected: "',' or ']'",
  EndOfFileExpected: 'the end',
  UnexpectedEndOfString: 'a string that ends on its line',
  InvalidEscapeCharacter: 'a string with escapes such as \\n',
  InvalidUnicode: 'a string with escapes such as \\u00e9',
  InvalidCharacter: 'a string without control characters',
  UnexpectedEndOfNumber: 'a number with digits at its end',
  InvalidCommentToken: 'a value, because JSON has no comments'
}

function place (text: string, at: number): string {
  const before = text.slice(0, at)
  return `line ${before.split('\n').length}, column ${at - before.lastIndexOf('\n')}`
}

function found (text: string, at: number): string {
  return at >= text.length ? 'the end' : JSON.stringify(String.fromCodePoint(text.codePointAt(at)!))
}

/** The line, truncated around the location, with a mark below. */
function marked (text: string, at: number): string {
  const start = text.lastIndexOf('\n', at - 1) + 1
  const end = text.indexOf('\n', at)
  const from = Math.max(start, at - 60)
  const shown = text.slice(from, Math.min(end === -1 ? text.length : end, at + 30)).replaceAll(/[\t\r]/g, ' ')
  return `  ${shown}\n  ${' '.repeat(at - from)}^`
}
