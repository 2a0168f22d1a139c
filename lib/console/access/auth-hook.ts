import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { FST_TASKS_UNAUTHENTICATED } from '../../errors.js'

/**
 * Lets a request pass, or refuses it, before anything of it is read. `this` is the Fastify instance of the console.
 * @param done ends the decision: without an error the request passes. A function that takes it must call it, or return a promise
 */
export type ConsoleAuth = (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => unknown

/**
 * Makes an `onRequest` hook of a function for the option `auth`: any hook that Fastify accepts, or a function that decides
 * by what it returns. A request waits until it is decided, and the first decision counts:
 *
 *   passes:  `done()`, a promise that resolves, the return of a function that cannot have used `done`
 *   refused: `done(error)`, a throw, a rejection, `false` in any of these ways
 *   ends:    the function replies by itself, or the client disconnects
 */
export function authHook (auth: ConsoleAuth): onRequestHookHandler {
  const callsDone = canCallDone(auth)
  return function (request, reply, next) {
    const ownReply = watchReply(reply)
    let decided = false
    const decide = (pass: boolean, error: unknown): void => {
      const isLate = decided || ownReply.ends()
      decided = true
      if (isLate && error !== undefined) request.log.error({ err: error }, "the console's 'auth' failed after it had decided")
      if (isLate) return
      if (pass) next()
      else {
        next(error instanceof Error ? error : new FST_TASKS_UNAUTHENTICATED("the console's 'auth' refused this caller", { cause: error }))
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
 * Whether an async function has a parameter for `done`: it would pass by resolving before `done` is called. Fastify refuses such hooks,
 * too.
 */
export function isMixedStyle (auth: ConsoleAuth): boolean {
  return auth.constructor.name === 'AsyncFunction' && auth.length >= 3
}

/**
 * Whether a reply was begun by somebody else, or can no longer be sent. `reply.sent` is false until the response has ended,
 * which `onSend` hooks of the app can delay, so the calls that begin a reply are watched.
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
 * Whether a function can call `done`, so that its return decides nothing. `length` alone does not say: `(...args) =>
 * app.basicAuth(...args)` has length 0 and returns long before the password is checked.
 */
function canCallDone (auth: ConsoleAuth): boolean {
  if (auth.length >= 3) return true
  const source = Function.prototype.toString.call(auth)
  // A bound function does not show its parameters; one that counts them can be believed.
  if (source.includes('[native code]')) return auth.length === 0
  return REST_PARAMETER.test(source) || THIRD_PARAMETER.test(source) || /\barguments\b/.test(source)
}

const REST_PARAMETER = /^(?:async\s*)?(?:function\s*)?[\w$]*\s*\([^)]*\.\.\.(?:[\w$]+|\[[^\]]*\])\s*\)/

/** `length` leaves it out where a parameter has a default. */
const THIRD_PARAMETER = /^(?:async\s*)?(?:function\s*)?[\w$]*\s*\([^()]*,[^()]*,/

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function'
}
