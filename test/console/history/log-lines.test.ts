import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { LogLines, type WrittenLine } from '../../../lib/console/history/log-lines.js'

t.test('the kept lines', async t => {
  const AT = 1_900_000_000_000
  const keep = (...added: WrittenLine[]): LogLines => {
    const lines = new LogLines(new ManualClock(AT))
    for (const line of added) lines.add(line)
    return lines
  }
  const pino = (rest: object): string => JSON.stringify({ level: 40, time: 5, pid: 1, hostname: 'h', msg: 'm', ...rest })

  t.test('are bounded: the first and the latest stay, long ones are cut', async t => {
    const lines = new LogLines(systemClock)
    for (let line = 0; line < 10_000; line++) lines.add(JSON.stringify({ level: 30, time: 1, msg: `line ${line}` }))
    const kept = lines.lines().map(({ message }) => Number(message.slice(5)))
    t.same(kept.slice(0, 50), Array.from({ length: 50 }, (_, line) => line))
    t.equal(kept.at(-1), 9999)
    t.equal(kept.length + lines.omitted, 10_000)

    const long = new LogLines(systemClock)
    for (let line = 0; line < 500; line++) {
      long.add(JSON.stringify({ level: 50, time: 1, msg: 'm'.repeat(10_000), field: 'f'.repeat(10_000) }))
    }
    long.add('x'.repeat(2_000_000))
    t.ok(long.chars <= 64 * 1024)
    t.ok(long.lines().every(({ message }) => message.length <= 4097))
    t.equal(long.lines()[0]!.level, 'error')
    t.match(long.lines()[0]!.fields, /^\{"field":"f+…$/)
    t.equal(long.lines().length + long.omitted, 501)
  })

  t.test('in a form of the app\'s own are shown as far as they can be understood', async t => {
    const lines = new LogLines(systemClock)
    for (const line of [
      'plain text\n',
      '[1]',
      '{"level":"WARN","time":"2030-01-01T00:00:00Z","message":"labelled"}',
      '{"level":35,"msg":7}'
    ]) { lines.add(line) }
    t.match(lines.lines(), [
      { level: 'info', message: 'plain text' },
      { level: 'info', message: '[1]' },
      { level: 'warn', message: 'labelled', at: Date.parse('2030-01-01T00:00:00Z') },
      { level: 'info', message: '' }
    ])
  })

  t.test('have no fields that are the same in each line', async t => {
    const common = { level: 30, time: 7, pid: 1, hostname: 'h', msg: 'text', message: 'other', reqId: 'r', task: 't', id: 'i', attempt: 2 }
    t.strictSame(keep(JSON.stringify(common)).lines(), [{ at: 7, level: 'info', message: 'text' }])
    t.strictSame(keep(pino({ own: 1, attempt: 2 })).lines(), [{ at: 5, level: 'warn', message: 'm', fields: '{"own":1}' }])
    t.strictSame(keep(pino({ msg: undefined, message: 'other' })).lines(), [{ at: 5, level: 'warn', message: 'other' }])
  })

  t.test('have a time and a level in whatever form they are written, or those of a line without', async t => {
    const read = (rest: object) => keep(pino(rest)).lines()[0]!
    t.strictSame(['2030-01-01T00:00:00Z', 'soon', undefined, {}, 6.5].map(time => read({ time }).at), [1_893_456_000_000, AT, AT, AT, 6.5])
    t.strictSame(
      [-10, 9, 10, 19, 20, 30, 40, 50, 60, 69, 1000, 'ERROR', 'notice', null].map(level => read({ level }).level),
      ['trace', 'trace', 'trace', 'trace', 'debug', 'info', 'warn', 'error', 'fatal', 'fatal', 'fatal', 'error', 'info', 'info']
    )
    t.strictSame(keep('plain \n', '[1]\n', 'null').lines().map(({ at, level, message }) => [at, level, message]), [
      [AT, 'info', 'plain'], [AT, 'info', '[1]'], [AT, 'info', 'null']
    ])
  })

  t.test('are truncated: the message, the fields, and what is too long to parse', async t => {
    const [line] = keep(pino({ msg: 'm'.repeat(4097), f: 'f'.repeat(4096) })).lines()
    t.strictSame(line, { at: 5, level: 'warn', message: `${'m'.repeat(4096)}…`, fields: `${`{"f":"${'f'.repeat(4096)}`.slice(0, 4096)}…` })
    const [long] = keep(`{"msg":"${'x'.repeat(1024 * 1024)}`).lines()
    t.strictSame([long!.level, long!.at, long!.message.length], ['info', AT, 4097])
    const [text] = keep('x'.repeat(4097)).lines()
    t.equal(text!.message.length, 4097)
    const free = 1024 * 1024 - pino({ msg: '' }).length
    t.strictSame([free, free + 1].map(length => keep(pino({ msg: 'm'.repeat(length) })).lines()[0]!.level), ['warn', 'info'])
  })

  t.test('are the first 50 and the latest 150, and their characters are counted', async t => {
    const lines = keep(...Array.from({ length: 200 }, (_, number) => `line ${number + 100}`))
    t.strictSame([lines.lines().length, lines.omitted, lines.chars], [200, 0, 1600])
    lines.add('line 300')
    t.strictSame([lines.lines().length, lines.omitted, lines.chars], [200, 1, 1600])
    const messages = lines.lines().map(({ message }) => message)
    t.strictSame([messages[49], messages[50], messages[199]], ['line 149', 'line 151', 'line 300'])
    lines.drop()
    t.strictSame([lines.lines(), lines.omitted, lines.chars], [[], 201, 0])
    lines.add({ at: 1, level: 'info', message: '12', fields: '345' })
    t.equal(lines.chars, 69)
    lines.add({ at: 1, level: 'info', message: '12' })
    t.equal(lines.chars, 69 + 66)
  })

  t.test('are at most 64 Ki characters, of which the first ones are half', async t => {
    const of4096 = Array.from({ length: 17 }, (_, number) => String(number).padStart(4096, ' '))
    const lines = keep(...of4096)
    t.strictSame(lines.lines().map(({ message }) => Number(message)), [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16])
    t.strictSame([lines.chars, lines.omitted], [65_536, 1])
    lines.add('short')
    t.strictSame([lines.chars, lines.omitted], [61_445, 2])
    const huge = keep(...of4096.slice(0, 8), 'x'.repeat(4000), { at: 1, level: 'info', message: 'y'.repeat(70_000) })
    t.strictSame(huge.lines().map(({ message }) => message[0]), [...Array(8).fill(' '), 'y'], 'the latest line always stays')
  })
})
