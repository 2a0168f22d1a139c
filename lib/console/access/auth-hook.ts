import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { FST_TASKS_UNAUTHENTICATED } from '../../errors.js'

/**
 * Accepts or rejects a request before its body is read. `this` is the Fastify instance of the console.
 * @param done accepts the request, or rejects it with an error. A function that uses it must call it, or return a promise
 */
export type ConsoleAuth = (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => unknown

/**
 * Converts a function in the option `auth` to an `onRequest` hook: any hook that Fastify accepts, or a function that decides by its
 * return value. A request waits for the decision, and the first one counts:
 *
 *   accepted: `done()`, a promise that resolves, the return of a function that cannot call `done`
 *   rejected: `done(error)`, a throw, a rejection, `false` in any of these ways
 *   ended:    the function replies itself, or the client disconnects
 */
export function authHook (auth: ConsoleAuth): onRequestHookHandler {
  const callsDone = canCallDone(auth)
  return function (request, reply, next) {
    const ownReply = watchReply(reply)
    let decided = false
    const decide = (pass: boolean, error: unknown): void => {
      const isLate = decided || ownReply.ends()
      decided = true
      if (isLate && error !== undefined) request.log.error({ err: error }, "the console's 'auth' failed after its decision")
      if (isLate) return
      if (pass) next()
      else {
        next(error instanceof Error ? error : new FST_TASKS_UNAUTHENTICATED("the console's 'auth' rejected this caller", { cause: error }))
      }
    }
    const answer = (value: unknown): void => { decide(value !== false, undefined) }
    const fail = (error: unknown): void => { decide(false, error) }
    const done = (error?: unknown, value?: unknown): void => {
      if (error === undefined || error === null) answer(value)
      else fail(error)
    }
    try {
      const result = auth.call(this, request, reply, done)
      if (isThenable(result)) result.then(answer, fail)
      else if (result === false) fail(undefined)
      else if (!callsDone) answer(result)
    } catch (error) {
      fail(error)
    }
  }
}

/**
 * Whether an async function has a parameter for `done`: it would accept by resolving before `done` is called. Fastify rejects such hooks
 * too.
 */
export function isMixedStyle (auth: ConsoleAuth): boolean {
  return auth.constructor.name === 'AsyncFunction' && auth.length >= 3
}

/**
 * Detects whether `auth` has replied itself, or the reply cannot be sent any more. `reply.sent` is false until the response has ended,
 * which the app's `onSend` hooks can delay, so the calls that start a reply are intercepted.
 */
function watchReply (reply: FastifyReply): { readonly ends: () => boolean } {
  const { send, callNotFound } = reply
  let begun = false
  reply.send = payload => {
    begun = true
    return send.call(reply, payload)
  }
  reply.callNotFound = () => {
    begun = true
    return callNotFound.call(reply)
  }
  return {
    ends () {
      reply.send = send
      reply.callNotFound = callNotFound
      return begun || reply.sent || reply.raw.headersSent || reply.raw.destroyed
    }
  }
}

/**
 * Whether a function can call `done`, so that its return value is not a decision. `length` is not sufficient: `(...args) =>
 * app.basicAuth(...args)` has length 0 and returns long before the password is checked.
 */
function canCallDone (auth: ConsoleAuth): boolean {
  if (auth.length >= 3) return true
  const source = Function.prototype.toString.call(auth)
  // The parameters of a bound function cannot be read, only counted.
  if (source.includes('[native code]')) return auth.length === 0
  return THIRD_PARAMETER.test(outline(source)) || /\barguments\b/.test(source)
}

/** A rest parameter, or a third one, which is not in `length` where a parameter has a default. An arrow before it is the function's. */
const THIRD_PARAMETER = /^[^(=]*\([^()]*(?:\.\.\.|,[^(),]*,\s*[^\s)])/

/** The source without comments and without the fields of destructured parameters, whose commas separate no parameters. */
function outline (source: string): string {
  const rest = source.replaceAll(/\/\*[^]*?\*\/|\/\/.*|\{[^{}]*\}/g, '')
  return rest === source ? source : outline(rest)
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function'
}
