import { format } from 'node:util'
import { createError } from '@fastify/error'

/** An error whose `message` may be shown to anyone, and whose `explanation` is for the log. */
export interface ServerError<C extends string> extends Error {
  readonly code: C
  readonly statusCode: number
  /** What is wrong and how to fix it, with the names of tasks, queues, projects and files. */
  readonly explanation: string
}

export interface ServerErrorConstructor<C extends string, A extends readonly unknown[]> {
  new (...args: A): ServerError<C>
  readonly prototype: ServerError<C>
}

/**
 * Declares an error that can be thrown while the server serves, and for which its client is not to blame. Fastify sends the `message`
 * of an error that a host does not catch to the web client, so that one is a neutral sentence; the log and `console.error` show the
 * own properties of an error as well. They are not called `details`, which many hosts have in the response schemas of their errors.
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
      // Here, as the stack would begin with this constructor otherwise.
      Error.captureStackTrace(this, Named)
    }
  }
  Object.defineProperty(Named, 'name', { value: Base.name })
  return Named as unknown as ServerErrorConstructor<C, A>
}

/** What an error says to a developer: on the command line, in the console, in messages that are for the log. */
export function explain (error: Error & { readonly explanation?: unknown }): string {
  return typeof error.explanation === 'string' ? error.explanation : error.message
}
