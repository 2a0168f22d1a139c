import { PassThrough } from 'node:stream'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import type { LogLine } from '../../../lib/console/api/api.js'
import { errorInfo } from '../../../lib/console/history/error-info.js'
import { LogLines } from '../../../lib/console/history/log-lines.js'
import { teeLog } from '../../../lib/console/history/log-tee.js'
import { payloadOf } from '../../../lib/console/api/task-view.js'

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

t.test('the kind of a payload is detected', async t => {
  t.same(payloadOf(undefined), { text: '', kind: 'none', bytes: 0, cut: false })
  t.same(payloadOf(Buffer.from('{}'), { 'Content-Type': 'application/json; charset=utf-8' }), {
    text: '{}',
    kind: 'json',
    bytes: 2,
    cut: false
  })
  t.same(payloadOf(Buffer.from('hé')), { text: 'hé', kind: 'text', bytes: 3, cut: false })
  t.same(payloadOf(Buffer.from([0xff, 0xfe])), { text: '//4=', kind: 'binary', bytes: 2, cut: false })
  for (const character of ['a', 'é', '€', '😀']) {
    for (let shift = 0; shift < 4; shift++) {
      const { text, kind, cut, bytes } = payloadOf(Buffer.from(' '.repeat(shift) + character.repeat(10_000)))
      t.match(
        { kind, cut, broken: text.includes('\ufffd') },
        { kind: 'text', cut: bytes > 16_384, broken: false },
        `${character} ${shift}`
      )
    }
  }
})
