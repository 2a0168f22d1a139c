/**
 * Where `enqueue` puts tasks. Life: made and opened while plugins load; `start` when the server is ready; `stop` when it
 * begins to close; `close` when every request in flight has been answered.
 */
export interface Transport {
  /** Becomes able to take tasks. */
  open (): Promise<void>
  /** Begins to deliver, or to warm up; returns at once. */
  start (): void
  /** Never rejects: what came of it is a value. `created` only when the task is safe with the receiver. */
  createTask (queue: string, task: OutgoingTask): Promise<Sent>
  /** True when the task was still queued. */
  deleteTask (queue: string, id: string): Promise<Deleted>
  /** Delivers nothing new; takes tasks for as long as it can keep them. Resolves when what was under way is settled. */
  stop (): Promise<void>
  /** Frees everything. */
  close (): Promise<void>
}

/** A task on its way to the transport. `path` is that of its route in this server, all prefixes included. */
export interface OutgoingTask {
  readonly id: string | undefined
  readonly method: 'POST' | 'PUT' | 'PATCH'
  /** Below the prefix of the instance that the plugin is registered on. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly scheduleAt: number | undefined
  readonly dispatchDeadlineMs: number | undefined
}

export type Sent =
  | { readonly outcome: 'created', readonly id: string, readonly scheduleAt: number }
  /** A task of that id is queued, or was until recently. */
  | { readonly outcome: 'duplicate' }
  | Failure

export type Deleted = { readonly outcome: 'deleted' } | { readonly outcome: 'notFound' } | Failure

export type Failure =
  | { readonly outcome: 'queueNotFound', readonly mend: string, readonly cause?: unknown }
  | { readonly outcome: 'tooLarge', readonly bytes: number, readonly limit: number }
  | { readonly outcome: 'closing' }
  | { readonly outcome: 'failed', readonly problem: string, readonly cause: unknown }
