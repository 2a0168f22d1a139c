import { format } from 'node:util'
import { createError } from '@fastify/error'

/** An error with a `message` that can be shown to anyone, and an `explanation` for the log. */
export interface ServerError<C extends string> extends Error {
  readonly code: C
  readonly statusCode: number
  /** What is wrong and how to fix it, including names of tasks, queues, projects and files. */
  readonly explanation: string
}

export interface ServerErrorConstructor<C extends string, A extends readonly unknown[]> {
  new (...args: A): ServerError<C>
  readonly prototype: ServerError<C>
}

/**
 * Declares an error that can be thrown during a request, but is not the client's fault. Fastify sends the `message` of an uncaught error
 * to the client, so it must be neutral; logs and `console.error` also show an error's own properties. The property is not called
 * `details`, which many apps have in the response schemas of their errors.
 * @param explanation a format of `util.format` for the constructor's arguments; the last of them may be `{ cause }`
 */
export function createServerError<C extends string, A extends readonly unknown[]> (
  code: C, statusCode: number, message: string, explanation: string
): ServerErrorConstructor<C, A> {
  const Base = createError<string, [options?: ErrorOptions]>(code, message, statusCode, Error, false)
  const Named = class extends Base {
    readonly explanation: string

    constructor (...args: A) {
      const last = args.at(-1)
      const hasCause = typeof last === 'object' && last !== null && 'cause' in last
      super(...hasCause ? [last as ErrorOptions] : [])
      this.explanation = format(explanation, ...hasCause ? args.slice(0, -1) : args)
      // Otherwise the stack would begin with this constructor.
      Error.captureStackTrace(this, Named)
    }
  }
  Object.defineProperty(Named, 'name', { value: Base.name })
  return Named as unknown as ServerErrorConstructor<C, A>
}

/** The message for developers: on the command line, in the console, in logs. */
export function explain (error: Error & { readonly explanation?: unknown }): string {
  return typeof error.explanation === 'string' ? error.explanation : error.message
}
