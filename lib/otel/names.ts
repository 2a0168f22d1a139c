/**
 * Names of spans and metrics: OpenTelemetry's semantic conventions for messaging (1.45), and our own names for what they lack. Not
 * imported, because the conventions' package is not installed with the API, and marks these names as incubating.
 */

export const SYSTEM = 'gcp.cloud_tasks'

export const attributes = {
  system: 'messaging.system.name',
  /** Deprecated in the conventions; optional. */
  deprecatedSystem: 'messaging.system',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destination: 'messaging.destination.name',
  messageId: 'messaging.message.id',
  bodySize: 'messaging.message.body.size',
  batchSize: 'messaging.batch.message_count',
  errorType: 'error.type',
  status: 'http.response.status_code',
  task: 'fastify_cloud_tasks.task',
  duplicate: 'fastify_cloud_tasks.duplicate',
  attempt: 'fastify_cloud_tasks.attempt',
  result: 'fastify_cloud_tasks.result',
  exhausted: 'fastify_cloud_tasks.exhausted'
} as const

export const metricNames = {
  sent: 'messaging.client.sent.messages',
  sendDuration: 'messaging.client.operation.duration',
  consumed: 'messaging.client.consumed.messages',
  processDuration: 'messaging.process.duration',
  waiting: 'fastify_cloud_tasks.queue.waiting',
  running: 'fastify_cloud_tasks.queue.running',
  oldestDue: 'fastify_cloud_tasks.queue.oldest_due_age'
} as const
