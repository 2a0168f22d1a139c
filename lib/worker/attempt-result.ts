/** The result of one run of a handler. */
export type RunResult =
  | { readonly result: 'done', readonly value: unknown }
  /** `error` is the error that `drop` threw, `invalid` why a payload made the option `invalidPayload` drop it. */
  | { readonly result: 'dropped', readonly reason: string, readonly invalid?: Error, readonly error?: Error | undefined }
  /** `until`: epoch milliseconds. `error` is the error that `retryAfter` threw. */
  | { readonly result: 'postponed', readonly until: number, readonly reason: string | undefined, readonly error: Error }
  | { readonly result: 'failed', readonly error: unknown }
  | { readonly result: 'deadline', readonly error: Error }
  | { readonly result: 'disconnected', readonly error: Error }
  | { readonly result: 'aborted', readonly error: Error }

/** The result of an attempt: of the run of its handler, or of a payload that kept the handler from running. */
export type AttemptResult = RunResult | { readonly result: 'invalid', readonly error: Error }
