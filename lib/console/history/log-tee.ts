import { format } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import type { Clock } from '../../clock/clock.js'
import { madeLine, type WrittenLine } from './log-lines.js'

/**
 * A logger that behaves like `log` and also passes each line to `take`, including those of child loggers. For pino, `take` gets the text
 * that is written, so levels and `redact` apply.
 */
export function teeLog (log: FastifyBaseLogger, clock: Clock, take: (line: WrittenLine) => void): FastifyBaseLogger {
  const symbol = streamSymbolOf(log)
  if (symbol === undefined) return wrap(log, clock, take)
  const stream = (log as unknown as Record<symbol, PinoStream>)[symbol]!
  return Object.assign(Object.create(log) as FastifyBaseLogger, { [symbol]: new TeeStream(stream, take) })
}

const METADATA = Symbol.for('pino.metadata')

interface PinoStream {
  write (line: string): unknown
  flush? (done?: (error?: Error) => void): unknown
  flushSync? (): unknown
  end? (): unknown
  readonly [METADATA]?: boolean
  [field: string]: unknown
}

/** Fields that pino sets on a stream before each line, if the stream requests them. */
const LAST = ['lastLevel', 'lastObj', 'lastMsg', 'lastTime', 'lastLogger'] as const

/** Wraps a stream of pino's. Streams keep state in `this`, so calls are delegated to the stream itself. */
class TeeStream {
  readonly #stream: PinoStream
  readonly #take: (line: string) => void

  constructor (stream: PinoStream, take: (line: string) => void) {
    this.#stream = stream
    this.#take = take
  }

  get [METADATA] (): boolean {
    return this.#stream[METADATA] === true
  }

  write (line: string): unknown {
    if (this[METADATA]) for (const field of LAST) this.#stream[field] = (this as unknown as Record<string, unknown>)[field]
    this.#take(line)
    return this.#stream.write(line)
  }

  flush (done?: (error?: Error) => void): unknown {
    if (typeof this.#stream.flush === 'function') return this.#stream.flush(done)
    done?.()
    return undefined
  }

  flushSync (): unknown {
    return this.#stream.flushSync?.()
  }

  end (): unknown {
    return this.#stream.end?.()
  }
}

/** Pino stores its stream under a private symbol. */
function streamSymbolOf (log: object): symbol | undefined {
  if (known in log) return known
  const kind = Object.getPrototypeOf(log) as object
  if (others.has(kind)) return undefined
  for (let object: object | null = log; object !== null; object = Object.getPrototypeOf(object)) {
    const symbol = Object.getOwnPropertySymbols(object).find(one => one.description === 'pino.stream' && isStream(log, one))
    if (symbol !== undefined) return (known = symbol)
  }
  if (kind !== null && kind !== Object.prototype) others.add(kind)
  return undefined
}

function isStream (log: object, symbol: symbol): boolean {
  return typeof (log as Record<symbol, PinoStream | undefined>)[symbol]?.write === 'function'
}

/** The last symbol that was found, at first one of no logger: searching for it costs more than the rest. */
let known = Symbol('none')

/** Prototypes of other loggers. */
const others = new WeakSet<object>()

/** For other loggers, and for Fastify's logger without output. */
function wrap (log: FastifyBaseLogger, clock: Clock, take: (line: WrittenLine) => void): FastifyBaseLogger {
  return new Proxy(log, {
    get (target, key) {
      const value = Reflect.get(target, key, target) as unknown
      if (typeof value !== 'function') return value
      if (key === 'child') return (...args: Parameters<FastifyBaseLogger['child']>) => wrap(target.child(...args), clock, take)
      if (!METHODS.has(key as Method)) return value.bind(target) as unknown
      const level = key as Method
      return (...args: unknown[]) => {
        if (isOn(target, level)) take(lineOf(clock.now(), level, args))
        return Reflect.apply(value, target, args) as unknown
      }
    }
  })
}

type Method = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'

const METHODS = new Set<Method>(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])

function isOn (log: FastifyBaseLogger, level: Method): boolean {
  const { isLevelEnabled } = log as { isLevelEnabled?: unknown }
  if (typeof isLevelEnabled === 'function') return isLevelEnabled.call(log, level) === true
  // Without that method it may be Fastify's logger without output.
  return level !== 'trace' && level !== 'debug'
}

function lineOf (at: number, level: Method, [first, ...rest]: unknown[]): WrittenLine {
  try {
    if (first instanceof Error) return madeLine(at, level, rest.length === 0 ? first.message : format(...rest), { err: first })
    if (typeof first === 'object' && first !== null) return madeLine(at, level, format(...rest), first)
    return madeLine(at, level, format(first, ...rest), undefined)
  } catch {
    return madeLine(at, level, 'a line that cannot be printed', undefined)
  }
}
