/** What became of one run of a handler. */
export type RunResult =
  | { readonly result: 'done', readonly value: unknown }
  /** `error` is what `drop` threw. */
  | { readonly result: 'dropped', readonly reason: string, readonly error?: Error | undefined }
  | { readonly result: 'failed', readonly error: unknown }
  | { readonly result: 'deadline', readonly error: Error }
  | { readonly result: 'disconnected', readonly error: Error }
  | { readonly result: 'aborted', readonly error: Error }

/** What became of an attempt: a run of its handler, or a payload that no handler saw. */
export type AttemptResult = RunResult | { readonly result: 'invalid', readonly error: Error }
