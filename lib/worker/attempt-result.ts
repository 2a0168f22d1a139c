/** The result of one run of a handler. */
export type RunResult =
  | { readonly result: 'done', readonly value: unknown }
  /** `error` was thrown by `drop`; `invalid` is the validation error when the option `invalidPayload` drops the task. */
  | { readonly result: 'dropped', readonly reason: string, readonly invalid?: Error, readonly error?: Error | undefined }
  /** `until`: epoch milliseconds. `error` was thrown by `retryAfter`. */
  | { readonly result: 'postponed', readonly until: number, readonly reason: string | undefined, readonly error: Error }
  | { readonly result: 'failed', readonly error: unknown }
  | { readonly result: 'deadline', readonly error: Error }
  | { readonly result: 'disconnected', readonly error: Error }
  | { readonly result: 'aborted', readonly error: Error }

/** The result of an attempt: of its handler, or `invalid` when the payload kept the handler from running. */
export type AttemptResult = RunResult | { readonly result: 'invalid', readonly error: Error }
