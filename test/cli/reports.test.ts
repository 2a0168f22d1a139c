import { PassThrough } from 'node:stream'
import t from 'tap'
import { exitCodeOf, interruption, type Io } from '../../lib/cli/command.js'
import { LetterReport, letterTable } from '../../lib/cli/letter-report.js'
import { printable, printJson, table } from '../../lib/cli/table.js'
import type { DeadLetter, DeadLetterResult } from '../../lib/dead-letters/dead-letters.js'

t.test('a table has columns as wide as their longest cell, and no spaces at the end of a line', async t => {
  t.equal(table(['A', 'LONG'], [['abc', 'x'], ['', 'longer'], ['a', '']]), 'A    LONG\nabc  x\n     longer\na\n')
  t.equal(table(['A'], []), 'A\n')
})

t.test('text of others stays on its line and cannot command the terminal', async t => {
  t.equal(printable('a \r\n\n b\n'), 'a b ')
  t.equal(printable('\t\0\x1f\x7f\x9b\u200e\u202e\u2066\u2069é😀'), '\\u0009\\u0000\\u001f\\u007f\\u009b\\u200e\\u202e\\u2066\\u2069é😀')
  t.equal(printJson({ a: '\x1b\x9b\u2028é' }), '{\n  "a": "\\u001b\\u009b\\u2028é"\n}')
  t.strictSame(JSON.parse(printJson({ a: '\x9b\u202e' })), { a: '\x9b\u202e' })
})

t.test('a letter is shown with what is known of it, and its error in a hundred characters', async t => {
  const error = { name: 'Error', message: 'x'.repeat(93) }
  t.equal(letterTable([]), '')
  t.equal(letterTable([
    letter({ id: 'a', task: 'mail', path: '/tasks/mail', queue: 'q', attempts: 3, time: new Date(0), error }),
    letter({ id: 'b', path: '/tasks/x', error: { ...error, code: 'E_X' } })
  ]), 'ID  TASK      QUEUE  ATTEMPTS  ENDED                     ERROR\n' +
    `a   mail      q      3         1970-01-01T00:00:00.000Z  Error: ${'x'.repeat(93)}\n` +
    `b   /tasks/x  -      -         -                         Error E_X: ${'x'.repeat(88)}…\n`)
  t.match(letterTable([letter({ id: 'c', path: '/' })]), /^c +\/ +- +- +- +-$/m)
})

t.test('results are printed as they arrive, failures on stderr, with a sum at the end', async t => {
  const results: DeadLetterResult[] = [
    { id: 'a', outcome: 'replayed' },
    { id: 'b', outcome: 'failed', problem: 'no\nway' },
    { id: 'c', outcome: 'notFound' }
  ]
  t.strictSame(report('replay', {}, results), {
    exitCode: 1,
    out: 'a: replayed\nc: there is no such letter\n1 replayed, 2 not\n',
    err: 'b: failed: no way\n'
  })
  t.strictSame(report('discard', {}, results.slice(2)), { exitCode: 1, out: 'c: there is no such letter\n0 discarded, 1 not\n', err: '' })
  t.strictSame(report('replay', {}, results.slice(0, 1)), { exitCode: 0, out: 'a: replayed\n1 replayed\n', err: '' })
  const json = report('replay', { json: true }, results)
  t.strictSame([json.exitCode, JSON.parse(json.out), json.err], [1, results, ''])
})

t.test('a dry run shows the letters and what would be done with them', async t => {
  const letters = [letter({ id: 'a', task: 'mail', path: '/' })]
  t.strictSame(report('discard', { dryRun: true }, [], letters), { exitCode: 0, out: `${letterTable(letters)}1 would be discarded\n`, err: '' })
  t.strictSame(report('replay', { dryRun: true }, []), { exitCode: 0, out: '0 would be replayed\n', err: '' })
  t.strictSame(JSON.parse(report('replay', { dryRun: true, json: true }, [], letters).out), letters)
})

t.test('an interruption is the signal that ends the command, with the exit code that shells expect', async t => {
  const controller = new AbortController()
  const waiting = interruption(controller.signal)
  controller.abort('SIGINT')
  t.strictSame([await waiting, await interruption(controller.signal)], ['SIGINT', 'SIGINT'])
  t.strictSame([exitCodeOf('SIGINT'), exitCodeOf('SIGTERM')], [130, 143])
})

function letter (facts: Partial<DeadLetter>): DeadLetter {
  return facts as DeadLetter
}

function report (action: 'replay' | 'discard', options: { dryRun?: boolean, json?: boolean }, results: DeadLetterResult[], letters: DeadLetter[] = []) {
  const [stdout, stderr] = [new PassThrough({ encoding: 'utf8' }), new PassThrough({ encoding: 'utf8' })]
  const report = new LetterReport({ action, dryRun: false, json: false, ...options }, { stdout, stderr } as unknown as Io)
  report.chosen(letters)
  report.done(results)
  report.end()
  return { exitCode: report.exitCode, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') }
}
