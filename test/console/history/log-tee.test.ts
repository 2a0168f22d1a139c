import { PassThrough } from 'node:stream'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import type { LogLine } from '../../../lib/console/api/api.js'
import { LogLines } from '../../../lib/console/history/log-lines.js'
import { teeLog } from '../../../lib/console/history/log-tee.js'

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
    const asked = other({ isLevelEnabled: (level: string) => level !== 'info' })
    for (const level of ['trace', 'debug', 'info', 'fatal'] as const) asked.tee[level]('x')
    t.strictSame(asked.taken.map(({ level }) => level), ['trace', 'debug', 'fatal'])
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

  t.test('records what pino writes: its levels, redaction, serializers, bindings and formats', async t => {
    const written = new PassThrough()
    const { log } = Fastify({
      logger: { level: 'info', redact: ['password'], serializers: { order: (order: { id: string }) => order.id }, stream: written }
    })
    const kept = new LogLines(clock)
    const tee = teeLog(log, clock, line => { kept.add(line) })
    tee.debug('below the level')
    tee.info({ password: 'hunter2', order: { id: 'o1' } }, 'paid %d', 5)
    tee.child({ shop: 'a' }).error(new Error('broken'))
    tee.fatal('the end')
    const lines = kept.lines()
    t.strictSame(lines.map(({ level, message }) => [level, message]), [['info', 'paid 5'], ['error', 'broken'], ['fatal', 'the end']])
    t.equal(lines[0]!.fields, '{"password":"[Redacted]","order":"o1"}')
    t.match(lines[1]!.fields, /"shop":"a","err":\{"type":"Error","message":"broken","stack":/)
    t.equal(lines[2]!.fields, undefined)
    t.equal(String(written.read()).trim().split('\n').length, 3, 'and they went where they belong')
    log.info('not recorded')
    t.equal(kept.lines().length, 3)
  })

  t.test('gives a stream with metadata what pino gives it', async t => {
    const FIELDS = ['lastLevel', 'lastObj', 'lastMsg', 'lastTime'] as const
    const seenBy = (teed: boolean) => {
      const seen: unknown[][] = []
      // As pino.multistream does it.
      const stream = {
        [Symbol.for('pino.metadata')]: true,
        write (this: Record<string, unknown>) { seen.push([...FIELDS.map(field => this[field]), this.lastLogger === log]) },
        flush (done: (error: Error) => void) { done(new Error('full')) }
      }
      const pino = Fastify({ logger: { base: null, timestamp: () => ',"time":5', stream } as object }).log
      const log = teed ? teeLog(pino, clock, () => {}) : pino
      log.info({ a: 1 }, 'one')
      log.error('two')
      ;(log as unknown as { flush: (done: (error: Error) => void) => void }).flush(({ message }) => { seen.push([message]) })
      return seen
    }
    const seen = seenBy(true)
    t.strictSame(seen, seenBy(false))
    t.strictSame(seen.map(([level, , message]) => [level, message]), [[30, 'one'], [50, 'two'], ['full', undefined]])
    t.strictSame([seen[0]![1], seen[0]![4]], [{ a: 1 }, true])
  })

  t.test('is recognized as pino by its stream, whichever copy of pino it is of', async t => {
    const written: string[] = []
    /** A logger with a stream under a symbol of its own. */
    const make = (symbol: symbol, stream: object | undefined, prototype: object | null = {}): FastifyBaseLogger => {
      return Object.assign(Object.create(prototype) as FastifyBaseLogger, {
        [Symbol('pino.other')]: { write () {} },
        [symbol]: stream,
        info (this: Record<symbol, { write?: (line: string) => void } | undefined>, text: string) { this[symbol]?.write?.(`{"msg":"${text}"}`) }
      })
    }
    const recorded = (log: FastifyBaseLogger): unknown => {
      const taken: unknown[] = []
      teeLog(log, clock, line => { taken.push(line) }).info('x')
      return taken
    }
    const stream = { write (line: string) { written.push(line) } }
    const own = [Object.prototype, {}, null].map(prototype => make(Symbol('another'), stream, prototype))
    own.push(own[0]!, make(Symbol('pino.stream'), {}), make(Symbol('pino.stream'), undefined), Object.create(own[1]!) as FastifyBaseLogger)
    const copies = [Object.prototype, {}, null].map(prototype => make(Symbol('pino.stream'), stream, prototype))
    copies.push(Object.create(Object.create(copies[1]!) as object) as FastifyBaseLogger)
    for (const log of own) t.strictSame(recorded(log), [{ at: clock.now(), level: 'info', message: 'x' }])
    for (const log of [...copies, ...copies]) {
      written.length = 0
      t.strictSame([recorded(log), written], [['{"msg":"x"}'], ['{"msg":"x"}']])
    }
    for (const log of own) t.strictSame(recorded(log), [{ at: clock.now(), level: 'info', message: 'x' }])
  })

  t.test('is called as itself, as it may have private fields', async t => {
    class Own {
      readonly #lines: string[] = []
      get level (): string { return this.#lines.length === 0 ? 'info' : 'warn' }
      isLevelEnabled (): boolean { return this.#lines.length === 0 }
      info (line: string): void { this.#lines.push(line) }
      read (): readonly string[] { return this.#lines }
      child (): Own { return new Own() }
    }
    for (let count = 0; count < 2; count++) {
      const taken: unknown[] = []
      const tee = teeLog(new Own() as unknown as FastifyBaseLogger, clock, line => { taken.push(line) })
      t.equal(tee.level, 'info')
      tee.info('a')
      tee.info('b')
      t.equal(tee.level, 'warn')
      t.strictSame((tee as unknown as Own).read(), ['a', 'b'])
      tee.child({}).info('c')
      t.strictSame(taken, ['a', 'c'].map(message => ({ at: clock.now(), level: 'info', message })))
    }
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
