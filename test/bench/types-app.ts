/** How each schema library writes the payload of a task. */
interface Library {
  readonly imports: string
  readonly schema: (n: number) => string
  /** Import of a type provider, as `Provider`, for schemas that do not carry their type. */
  readonly provider?: string
}

const TYPEBOX_SCHEMA = (n: number): string =>
  `Type.Object({ id${n}: Type.String(), count: Type.Integer(), note: Type.Optional(Type.String()), place: Type.Object({ x${n}: Type.Number(), tags: Type.Array(Type.String()) }) })`

export const LIBRARIES: Readonly<Record<string, Library>> = {
  typebox: { imports: "import { Type } from '@sinclair/typebox'", schema: TYPEBOX_SCHEMA },
  'typebox 1.x': {
    imports: "import Type from 'typebox'",
    schema: TYPEBOX_SCHEMA,
    provider: "import type { TypeBoxTypeProvider as Provider } from 'type-provider-typebox-6'"
  },
  'json schema': {
    imports: '',
    schema: n =>
      `{ type: 'object', required: ['id${n}', 'count', 'place'], additionalProperties: false, properties: { id${n}: { type: 'string' }, count: { type: 'integer' }, note: { type: 'string' }, ` +
      `place: { type: 'object', required: ['x${n}', 'tags'], additionalProperties: false, properties: { x${n}: { type: 'number' }, tags: { type: 'array', items: { type: 'string' } } } } } }`,
    provider: "import type { JsonSchemaToTsProvider as Provider } from '@fastify/type-provider-json-schema-to-ts'"
  },
  zod: {
    imports: "import * as z from 'zod'",
    schema: n =>
      `z.object({ id${n}: z.string(), count: z.int(), note: z.string().optional(), place: z.object({ x${n}: z.number(), tags: z.array(z.string()) }) })`
  },
  'zod 3.24': {
    imports: "import { z } from 'zod/v3'",
    schema: n => `z.object({ id${n}: z.string(), count: z.number().int(), note: z.string().optional(), place: z.object({ x${n}: z.number(), tags: z.array(z.string()) }) })`
  },
  valibot: {
    imports: "import * as v from 'valibot'",
    schema: n =>
      `v.object({ id${n}: v.string(), count: v.pipe(v.number(), v.integer()), note: v.optional(v.string()), place: v.object({ x${n}: v.number(), tags: v.array(v.string()) }) })`
  },
  arktype: {
    imports: "import { type } from 'arktype'",
    schema: n => `type({ id${n}: 'string', count: 'number.integer', 'note?': 'string', place: { x${n}: 'number', tags: 'string[]' } })`
  }
}

/** Definitions of `count` tasks that differ in their fields, with `Register` filled. */
export function registrySource (count: number, { imports, schema, provider = '' }: Library): string {
  return [
    imports,
    provider,
    "import { defineTasks } from 'fastify-cloud-tasks'",
    'export const tasks = defineTasks({',
    ...numbers(count).map(n => `  '${taskName(n)}': { queue: 'queue-${n % 10}', payload: ${schema(n)} },`),
    '})',
    "declare module 'fastify-cloud-tasks' {",
    `  interface Register { tasks: typeof tasks${provider === '' ? '' : ', typeProvider: Provider'} }`,
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

function payload (n: number): string {
  return `{ id${n}: '${n}', count: ${n}, place: { x${n}: ${n}, tags: ['a'] } }`
}

function numbers (count: number): number[] {
  return Array.from({ length: count }, (_, n) => n)
}
