import { PassThrough } from 'node:stream'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import type { LogLine } from '../../../lib/console/api/api.js'
import { errorInfo } from '../../../lib/console/history/error-info.js'
import { LogLines, type WrittenLine } from '../../../lib/console/history/log-lines.js'
import { teeLog } from '../../../lib/console/history/log-tee.js'

t.test('log lines', async t => {
  const collected = (make: (log: FastifyBaseLogger) => void, log: FastifyBaseLogger): LogLine[] => {
    const lines = new LogLines(systemClock)
    make(teeLog(log, systemClock, line => { lines.add(line) }))
    return lines.lines()
  }

  t.test('of pino are what pino wrote: its levels, redaction, serializers, bindings and formats', async t => {
    const written = new PassThrough()
    const { log } = Fastify({
      logger: { level: 'info', redact: ['password'], serializers: { order: (order: { id: string }) => order.id }, stream: written }
    })
    const lines = collected(tee => {
      tee.debug('below the level')
      tee.info({ password: 'hunter2', order: { id: 'o1' } }, 'paid %d', 5)
      tee.child({ shop: 'a' }).error(new Error('broken'))
      tee.fatal('the end')
    }, log)
    t.match(lines, [
      { level: 'info', message: 'paid 5', fields: '{"password":"[Redacted]","order":"o1"}' },
      { level: 'error', message: 'broken', fields: /"shop":"a","err":\{"type":"Error","message":"broken","stack":/ },
      { level: 'fatal', message: 'the end', fields: undefined }
    ])
    t.equal(lines.length, 3)
    t.equal(String(written.read()).trim().split('\n').length, 3, 'and they went where they belong')
    log.info('not recorded')
    t.equal(lines.length, 3)
  })

  t.test('reach a stream that wants to know the level of each', async t => {
    const seen: unknown[] = []
    const low: string[] = []
    const high: string[] = []
    // As pino.multistream does it.
    const stream = {
      [Symbol.for('pino.metadata')]: true,
      lastLevel: 0,
      write (line: string) {
        low.push(line)
        if (this.lastLevel >= 50) high.push(line)
      },
      flush (done: () => void) { done() }
    }
    const lines = collected(tee => {
      tee.info('one')
      tee.error('two')
      ;(tee as unknown as { flush: (done: () => void) => void }).flush(() => { seen.push('flushed') })
    }, Fastify({ logger: { stream } }).log)
    t.same(lines.map(({ message }) => message), ['one', 'two'])
    t.same([low.length, high.length, seen], [2, 1, ['flushed']])
  })

  t.test('of other loggers are what those were given, without what is secret by its name', async t => {
    const calls: unknown[][] = []
    const make = (): FastifyBaseLogger =>
      ({
        level: 'info',
        silent () {},
        trace () {},
        debug () {},
        fatal () {},
        info: (...args: unknown[]) => {
          calls.push(args)
        },
        warn () {},
        error () {},
        child: make
      }) as unknown as FastifyBaseLogger
    const circular: Record<string, unknown> = {}
    circular.self = circular
    const lines = collected(tee => {
      tee.debug('left out')
      tee.info({ authorization: 'Bearer x', order: 1n }, 'hello %s', 'you')
      tee.child({}).warn('from a child')
      tee.error(new RangeError('too far'))
      tee.info(circular, 'round')
      tee.info({ get bad () { throw new Error('no') } }, 'a getter that throws')
    }, make())
    t.match(lines, [
      { level: 'info', message: 'hello you', fields: '{"authorization":"[hidden]","order":"1"}' },
      { level: 'warn', message: 'from a child' },
      { level: 'error', message: 'too far', fields: /RangeError/ },
      { level: 'info', message: 'round', fields: '"fields that cannot be printed"' },
      { level: 'info', message: 'a getter that throws' }
    ])
    t.equal(calls.length, 3)
  })

  t.test('are bounded: the first and the latest stay, long ones are cut', async t => {
    const lines = new LogLines(systemClock)
    for (let line = 0; line < 10_000; line++) lines.add(JSON.stringify({ level: 30, time: 1, msg: `line ${line}` }))
    const kept = lines.lines().map(({ message }) => Number(message.slice(5)))
    t.same(kept.slice(0, 50), Array.from({ length: 50 }, (_, line) => line))
    t.equal(kept.at(-1), 9999)
    t.equal(kept.length + lines.omitted, 10_000)

    const long = new LogLines(systemClock)
    for (let line = 0; line < 500; line++) {
      long.add(JSON.stringify({ level: 50, time: 1, msg: 'm'.repeat(100_000), field: 'f'.repeat(100_000) }))
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
})

t.test('the kept lines', async t => {
  const AT = 1_900_000_000_000
  const keep = (...added: WrittenLine[]): LogLines => {
    const lines = new LogLines(new ManualClock(AT))
    for (const line of added) lines.add(line)
    return lines
  }
  const pino = (rest: object): string => JSON.stringify({ level: 40, time: 5, pid: 1, hostname: 'h', msg: 'm', ...rest })

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

t.test('a logger that also records', async t => {
  const clock = new ManualClock()

  /** A logger like console, as an app may have one. */
  function other (rest: object = {}) {
    const calls: unknown[][] = []
    const methods = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map(level => [level, (...args: unknown[]) => {
      calls.push([level, ...args])
      return level
    }] as const)
    const log = { level: 'info', ...Object.fromEntries(methods), ...rest } as unknown as FastifyBaseLogger
    const taken: LogLine[] = []
    return { calls, taken, tee: teeLog(log, clock, line => { taken.push(line as LogLine) }) }
  }

  t.test('records what a logger other than pino was given, if its level is on', async t => {
    const { calls, taken, tee } = other()
    const results = (['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const).map(level => (tee[level] as Function)('to %s', level))
    t.strictSame(results, ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    t.strictSame(calls, results.map(level => [level, 'to %s', level]))
    t.strictSame(taken, ['info', 'warn', 'error', 'fatal'].map(level => ({ at: clock.now(), level, message: `to ${level}` })))
    t.equal(tee.level, 'info')
    const asked = other({ isLevelEnabled: (level: string) => level === 'trace' || level === 'fatal' })
    for (const level of ['trace', 'info', 'fatal'] as const) asked.tee[level]('x')
    t.strictSame(asked.taken.map(({ level }) => level), ['trace', 'fatal'])
  })

  t.test('prints the arguments in each form that pino accepts', async t => {
    const { taken, tee } = other()
    const error = Object.assign(new Error('broken'), { stack: 'stack' })
    tee.info(error)
    tee.info(error, 'with %d', 7)
    tee.info({ n: 1n, apiKey: 'k', nested: { password: 'p', error } }, 'fields')
    tee.info({}, 'none')
    tee.info(null as never)
    tee.info({ toJSON () { return undefined } }, 'undefined')
    tee.info({ long: 'x'.repeat(5000) }, 'y'.repeat(5000))
    tee.info({ get bad () { throw new Error('no') } }, 'getter')
    tee.info('%s', { toString () { throw new Error('no') } } as never)
    const err = { name: 'Error', message: 'broken', stack: 'stack' }
    t.strictSame(taken.slice(0, 6).map(({ message, fields }) => [message, fields]), [
      ['broken', JSON.stringify({ err })],
      ['with 7', JSON.stringify({ err })],
      ['fields', JSON.stringify({ n: '1', apiKey: '[hidden]', nested: { password: '[hidden]', error: err } })],
      ['none', undefined],
      ['null', undefined],
      ['undefined', undefined]
    ])
    t.strictSame([taken[6]!.message.length, taken[6]!.fields!.length], [4097, 4097])
    t.equal(taken[7]!.fields, '"fields that cannot be printed"')
    t.equal(taken[8]!.message, 'a line that cannot be printed')
  })

  t.test('records the lines of its children', async t => {
    const child = other()
    const { taken, tee } = other({ child: (...args: unknown[]) => Object.assign(child.tee, { args }) })
    const made = tee.child({ part: 'a' }, { level: 'warn' })
    t.strictSame((made as unknown as { args: unknown[] }).args, [{ part: 'a' }, { level: 'warn' }])
    made.warn('from the child')
    t.strictSame(taken.map(({ message }) => message), ['from the child'])
  })

  t.test("calls pino's stream with what it can do", async t => {
    type Stream = { write (line: string): boolean, [key: string]: unknown }
    const calls: string[] = []
    const able = { write (line: string) { calls.push(line); return true }, flushSync () { calls.push('flushSync'); return 1 }, end () { calls.push('end'); return 2 } }
    for (const [rest, expected] of [[able, ['flushSync', 'end']], [{ write: able.write }, []]] as const) {
      calls.length = 0
      const tee = teeLog(Fastify({ logger: { stream: rest as never } }).log, clock, () => {})
      const stream = (tee as unknown as Record<symbol, Stream>)[Object.getOwnPropertySymbols(tee)[0]!]!
      t.strictSame([(stream.flushSync as Function)(), (stream.end as Function)()], expected.length === 0 ? [undefined, undefined] : [1, 2])
      t.strictSame(calls, expected)
      let flushed = 0
      ;(stream.flush as Function)(() => { flushed++ })
      t.equal(flushed, 1, 'a stream that cannot flush is flushed')
      ;(stream.flush as Function)()
      t.equal(stream.write('line'), true)
      t.equal(stream[Symbol.for('pino.metadata') as never], false)
      t.notOk('lastLevel' in rest)
    }
  })
})

t.test('an error has its causes, for any thrown value', async t => {
  const circle = new Error('circle')
  circle.cause = circle
  t.match(errorInfo(Object.assign(new TypeError('a', { cause: Object.assign(new Error('b'), { code: 'EPIPE' }) }), { code: 7 })), {
    name: 'TypeError', message: 'a', code: '7', stack: /^TypeError: a/, causes: [{ message: 'b', code: 'EPIPE' }]
  })
  t.notOk(errorInfo(circle).causes)
  t.match(errorInfo(new AggregateError([new Error('one'), new Error('two')], 'several')).causes, [{ message: 'one' }])
  t.match(errorInfo('a string'), { name: 'thrown', message: 'a string' })
  t.match(errorInfo(undefined), { message: 'undefined' })
  t.match(errorInfo({ code: 1 }), { message: '{ code: 1 }' })
  const hostile = new Error('x')
  for (const key of ['stack', 'message', 'name', 'code', 'cause']) {
    Object.defineProperty(hostile, key, {
      get () {
        throw new Error('gotcha')
      }
    })
  }
  t.match(errorInfo(hostile), { name: 'Error', message: '' })
  t.ok(errorInfo(new Error('m'.repeat(1e6))).message.length <= 4097)
  let deep = new Error('0')
  for (let level = 1; level < 100; level++) deep = new Error(String(level), { cause: deep })
  t.equal(errorInfo(deep).causes!.length, 8)
})
