import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve, sep } from 'node:path'
import t from 'tap'
import ts from 'typescript'

/** Where lib/ may use the system's time directly, and why. */
const exempt: ReadonlyMap<string, string> = new Map([
  ['clock/clock.ts', 'it is the clock'],
  ['cli/app.ts', 'limits how long closing the loaded app may take, in the life of the process'],
  ['cli/main.ts', 'keeps the process alive until the command has ended']
])

const GLOBALS: ReadonlySet<string> = new Set([
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'performance'
])

/** Members of global objects that tell the time or wait for it; an empty list means all. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  Date: ['now'],
  performance: [],
  process: ['hrtime', 'uptime'],
  AbortSignal: ['timeout']
}

const MODULES = /^(?:node:)?(?:timers(?:\/promises)?|perf_hooks)$/

const lib = resolve(import.meta.dirname, '../../lib')
// The page's own files are JavaScript and run in a browser.
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.ts'))
  .map(path => path.split(sep).join('/'))

t.test('time comes from a Clock: lib/ has no Date.now, no timer and no performance.now outside lib/clock', async t => {
  t.ok(files.length > 100)
  const uses = new Map(files.map(path => [path, timeUses(readFileSync(join(lib, path), 'utf8'))]))
  t.strictSame(
    [...uses].filter(([path, found]) => found.length > 0 && !exempt.has(path)).map(([path, found]) => `${path}: ${found.join(', ')}`),
    []
  )
  for (const path of exempt.keys()) t.ok((uses.get(path) ?? []).length > 0, `${path} still needs its exemption`)
})

t.test('a use of the system\'s time is found', async t => {
  for (const text of [
    'Date.now()',
    'const f = Date.now',
    'new Date()',
    'Date()',
    'Date["now"]()',
    'setTimeout(f, 1)',
    'const wait = setInterval',
    'setImmediate(f)',
    'globalThis.setTimeout(f)',
    'queue.push(clearTimeout)',
    'performance.now()',
    'performance.timeOrigin',
    'process.hrtime.bigint()',
    'process.uptime()',
    'AbortSignal.timeout(5)',
    "import { setTimeout } from 'node:timers/promises'",
    "import timers from 'timers'",
    "import { performance as p } from 'node:perf_hooks'",
    "await import('node:timers/promises')",
    'const x = { setTimeout }',
    'const { now } = Date',
    'const { uptime } = process'
  ]) { t.strictSame(timeUses(text).length > 0, true, text) }
})

t.test('time that comes from a clock is not', async t => {
  for (const text of [
    'clock.now()',
    'this.#clock.setTimeout(f, 1)',
    'socket.setTimeout(5)',
    'new Date(0)',
    'Date.parse(text)',
    'interface C { setTimeout (f: () => void): unknown; now (): number }',
    'class C { setTimeout (): void {} }',
    'const { setTimeout } = systemClock; setTimeout(f, 1)',
    "'Date.now()'",
    'x instanceof Date',
    'process.env.X',
    'AbortSignal.any([])',
    'function f (setTimeout: F) { setTimeout() }'
  ]) { t.strictSame(timeUses(text), [], text) }
})

/** Uses of the system's time in a module, as text. */
function timeUses (text: string): string[] {
  const source = ts.createSourceFile('x.ts', text, ts.ScriptTarget.Latest, true)
  const declared = new Set<string>()
  const found: string[] = []
  const collect = (node: ts.Node): void => {
    if (ts.isBindingElement(node) || ts.isParameter(node) || ts.isVariableDeclaration(node)) {
      if (ts.isIdentifier(node.name) && !isFromSystem(node)) declared.add(node.name.text)
    }
    ts.forEachChild(node, collect)
  }
  const visit = (node: ts.Node): void => {
    const use = timeUse(node, declared)
    if (use !== undefined) found.push(use)
    else ts.forEachChild(node, visit)
  }
  collect(source)
  visit(source)
  return found
}

function timeUse (node: ts.Node, declared: ReadonlySet<string>): string | undefined {
  if (ts.isStringLiteralLike(node) && MODULES.test(node.text)) {
    if (ts.isImportDeclaration(node.parent) || ts.isCallExpression(node.parent)) return node.text
  }
  if (ts.isNewExpression(node) && isNamed(node.expression, 'Date') && (node.arguments ?? []).length === 0) return 'new Date()'
  if (ts.isCallExpression(node) && isNamed(node.expression, 'Date')) return 'Date()'
  if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) return memberUse(node.expression.text, node.name.text)
  if (ts.isElementAccessExpression(node) && ts.isIdentifier(node.expression) && ts.isStringLiteralLike(node.argumentExpression)) {
    return memberUse(node.expression.text, node.argumentExpression.text)
  }
  if (ts.isBindingElement(node) && isFromSystem(node)) return node.getText()
  if (ts.isIdentifier(node) && GLOBALS.has(node.text) && isValue(node) && !declared.has(node.text)) return node.text
  return undefined
}

function memberUse (object: string, member: string): string | undefined {
  if (object === 'globalThis' && (GLOBALS.has(member) || member in MEMBERS)) return `globalThis.${member}`
  const members = MEMBERS[object]
  return members === undefined || (members.length > 0 && !members.includes(member)) ? undefined : `${object}.${member}`
}

/** `const { now } = Date`, or of another object that holds the system's time. */
function isFromSystem (node: ts.Node): boolean {
  if (!ts.isBindingElement(node) || !ts.isVariableDeclaration(node.parent.parent)) return false
  const { initializer } = node.parent.parent
  const name = (node.propertyName ?? node.name).getText()
  return initializer !== undefined && ts.isIdentifier(initializer) && memberUse(initializer.text, name) !== undefined
}

function isNamed (node: ts.Node, name: string): boolean {
  return ts.isIdentifier(node) && node.text === name
}

/** Whether an identifier stands for a value, not for a member of something or its declaration. */
function isValue (node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node
  return !(
    ts.isMethodSignature(parent) ||
    ts.isMethodDeclaration(parent) ||
    ts.isPropertySignature(parent) ||
    ts.isPropertyDeclaration(parent) ||
    ts.isBindingElement(parent) ||
    ts.isParameter(parent) ||
    (ts.isVariableDeclaration(parent) && parent.name === node)
  )
}
