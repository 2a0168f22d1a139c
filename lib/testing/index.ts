import type { FastifyInstance } from 'fastify'
import type { RegisteredTasks, RegisteredTypeProvider, TaskDefinitions } from '../registry/definitions.js'
import { Kit } from './kit.js'
import type { TestKit } from './test-kit.js'

export type { AdvanceOptions, DeliverOptions, DrainOptions, TestKit } from './test-kit.js'
export type { EnqueuedTask, EnqueuedWith, PartOf } from './assertions.js'
export type { TestedAttempt } from './attempt-results.js'
export type { KitDuration } from './duration.js'

/**
 * Takes control of the tasks of an app for a test: nothing is dispatched automatically any more. A queue in memory replaces Google Cloud
 * or an emulator, so that the app can be configured as in production. Can be called before the plugin has loaded.
 * @param app the instance that the plugin is registered on, or one below or above it
 * @param tasks the registry, for its types, and to choose among several registrations. @default the registered one (`Register`)
 * @throws FST_TASKS_KIT_UNAVAILABLE, FST_TASKS_KIT_EXISTS, FST_TASKS_NOT_FOR_PRODUCTION
 */
export function testTasks<M = RegisteredTasks, F = RegisteredTypeProvider> (
  app: Pick<FastifyInstance, 'enqueue' | 'tasks'>, tasks?: M & TaskDefinitions
): TestKit<M, F> {
  return new Kit(app as FastifyInstance, tasks) as unknown as TestKit<M, F>
}
