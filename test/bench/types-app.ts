/** Definitions of `count` tasks that differ in their fields, with `Register` filled. */
export function registrySource (count: number): string {
  return [
    "import { Type } from '@sinclair/typebox'",
    "import { defineTasks } from 'fastify-cloud-tasks'",
    'export const tasks = defineTasks({',
    ...numbers(count).map(n => `  '${taskName(n)}': { queue: 'queue-${n % 10}', payload: ${schema(n)} },`),
    '})',
    "declare module 'fastify-cloud-tasks' {",
    '  interface Register { tasks: typeof tasks }',
    '}'
  ].join('\n')
}

/** A handler for every task, each of which enqueues another task. */
export function handlersSource (count: number): string {
  return [
    "import type { TaskHandlers } from 'fastify-cloud-tasks'",
    "import type { tasks } from './tasks.js'",
    'export const handlers: TaskHandlers<typeof tasks> = {',
    ...numbers(count).map(n => {
      const next = (n + 1) % count
      return `  async '${taskName(n)}' ({ id${n} }, task) { task.log.info(id${n}); return await this.enqueue('${taskName(next)}', ${payload(next)}) },`
    }),
    '}'
  ].join('\n')
}

/** Each way to hand a task over, for every task; the plugin with all handlers; and one union of names that must be refused. */
export function callsSource (count: number): string {
  return [
    "import Fastify from 'fastify'",
    "import cloudTasks from 'fastify-cloud-tasks'",
    "import { handlers } from './handlers.js'",
    "import { tasks } from './tasks.js'",
    'const app = Fastify()',
    'await app.register(cloudTasks, { tasks, handlers })',
    ...numbers(count).flatMap(n => [
      `await app.enqueue('${taskName(n)}', ${payload(n)}, { id: '${n}' })`,
      `await app.tasks.enqueueMany('${taskName(n)}', [{ payload: ${payload(n)} }])`
    ])
  ].join('\n')
}

function taskName (n: number): string {
  return `area-${n % 25}-task-${n}`
}

function schema (n: number): string {
  return `Type.Object({ id${n}: Type.String(), count: Type.Integer(), note: Type.Optional(Type.String()), place: Type.Object({ x${n}: Type.Number(), tags: Type.Array(Type.String()) }) })`
}

function payload (n: number): string {
  return `{ id${n}: '${n}', count: ${n}, place: { x${n}: ${n}, tags: ['a'] } }`
}

function numbers (count: number): number[] {
  return Array.from({ length: count }, (_, n) => n)
}
