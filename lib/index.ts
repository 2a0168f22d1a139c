export { default, default as cloudTasks } from './plugin.js'
export { defineTasks } from './registry/registry.js'
export { tasksOf } from './tasks.js'
export { parseRetryAfter } from './copies/retry-after.js'
export * as errors from './errors.js'

export type { CloudTasksClientLike, CloudTasksOptions, LocalOptions } from './options/options.js'
export type { AuthOptions } from './options/auth.js'
export type { QueueOptions } from './options/queues.js'
export type { AppEngineTarget, HttpTarget } from './options/target.js'
export type {
  HandlerFunction,
  Register,
  RegisteredTasks,
  RegisteredTypeProvider,
  TaskContext,
  TaskDefinition,
  TaskDefinitions,
  TaskHandler,
  TaskHandlers,
  TaskMethod,
  TaskPayload
} from './registry/definitions.js'
export type {
  DeadLetter, DeadLetterFilter, DeadLetterOptions, DeadLetterPage, DeadLetterQuery, DeadLetterResult, DeadLetters, DeadLetterSelection,
  ReplayOptions
} from './dead-letters/dead-letters.js'
export type { PayloadSchema } from './registry/schema.js'
export type { Enqueue, EnqueueResult } from './enqueue.js'
export type { DeleteOptions, EnqueueOptions } from './enqueue-options.js'
export type {
  EnqueueItem, TaskClient, PendingQuery, PendingPage, PendingTask, RunOptions, TransportCounts, TaskListing, Tasks
} from './tasks.js'
export type { Around, AttemptEvent, EnqueueEvent, ExpiredEvent, QueueCountsEvent, ScopeEvent, SentTask, TraceHeaders } from './events.js'
