import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts'
import { Type as Type0 } from '@sinclair/typebox'
import Fastify, { type FastifyTypeProviderDefault } from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions, type PayloadSchema, type TaskHandler, type TaskHandlers, type TaskPayload } from 'fastify-cloud-tasks'
import type { TypeBoxTypeProvider } from 'type-provider-typebox-6'
import Type from 'typebox'
import { type } from 'arktype'
import * as v from 'valibot'
import * as z from 'zod'
import type { Equal } from '../equal.js'

// Schemas of several libraries in one registry, and no type provider registered.
const tasks = defineTasks({
  static: { payload: Type0.Object({ n: Type0.Integer() }) },
  'static-unknown': { payload: Type0.Unknown() },
  typebox: { payload: Type.Object({ n: Type.Integer() }) },
  'typebox-unknown': { payload: Type.Unknown() },
  json: { payload: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false } },
  zod: { payload: z.object({ n: z.coerce.number(), at: z.coerce.date() }) },
  valibot: { payload: v.pipe(v.string(), v.transform(text => text.length)) },
  arktype: { payload: type('string.numeric.parse') }
})

true satisfies Equal<TaskPayload<typeof tasks, 'static'>, { n: number }>
true satisfies Equal<TaskPayload<typeof tasks, 'static-unknown'>, unknown>
true satisfies Equal<TaskPayload<typeof tasks, 'zod'>, { n: unknown, at: unknown }>
true satisfies Equal<TaskPayload<typeof tasks, 'valibot'>, string>
true satisfies Equal<TaskPayload<typeof tasks, 'arktype'>, string>
true satisfies Equal<Parameters<TaskHandler<typeof tasks, 'zod'>>[0], { n: number, at: Date }>
true satisfies Equal<Parameters<TaskHandler<typeof tasks, 'valibot'>>[0], number>
true satisfies Equal<Parameters<TaskHandler<typeof tasks, 'arktype'>>[0], number>

// Nothing is known of these: any, and only for these.
true satisfies Equal<TaskPayload<typeof tasks, 'typebox'>, any>
true satisfies Equal<TaskPayload<typeof tasks, 'json'>, any>
true satisfies Equal<Parameters<TaskHandler<typeof tasks, 'json'>>[0], any>

// With a type provider they are known, and the others stay what they are.
true satisfies Equal<TaskPayload<typeof tasks, 'typebox', TypeBoxTypeProvider>, { n: number }>
true satisfies Equal<TaskPayload<typeof tasks, 'typebox-unknown', TypeBoxTypeProvider>, unknown>
true satisfies Equal<TaskPayload<typeof tasks, 'json', TypeBoxTypeProvider>, { n: number }>
true satisfies Equal<TaskPayload<typeof tasks, 'json', JsonSchemaToTsProvider>, { n: number }>
true satisfies Equal<TaskPayload<typeof tasks, 'json', FastifyTypeProviderDefault>, unknown>
true satisfies Equal<TaskPayload<typeof tasks, 'static', JsonSchemaToTsProvider>, { n: number }>
true satisfies Equal<TaskPayload<typeof tasks, 'valibot', TypeBoxTypeProvider>, string>

// A program with several registries gives each its own type provider.
const handlers: Partial<TaskHandlers<typeof tasks, TypeBoxTypeProvider>> = { typebox: ({ n }) => { true satisfies Equal<typeof n, number> } }
const app = Fastify()
await app.register(cloudTasks, { tasks, handlers })
const options: CloudTasksOptions<typeof tasks, TypeBoxTypeProvider> = { tasks, handlers }
await app.register(cloudTasks, options)
const client = tasksOf<typeof tasks, TypeBoxTypeProvider>(app, tasks)
await client.enqueue('typebox', { n: 1 })
await client.enqueueMany('json', [{ payload: { n: 1 } }])
// @ts-expect-error wrong type of a field
await client.enqueue('typebox', { n: '1' })
// @ts-expect-error misspelt field
await client.run('json', { m: 1 })
// @ts-expect-error missing field
await client.enqueueMany('json', [{ payload: {} }])

// Definitions that are not written in place keep their literals by `as const`.
const schema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false } as const
const later = defineTasks({ later: { payload: schema } })
true satisfies Equal<TaskPayload<typeof later, 'later', JsonSchemaToTsProvider>, { n: number }>
await tasksOf<typeof later, JsonSchemaToTsProvider>(app, later).enqueue('later', { n: 1 })

// What is a schema, and what is none.
Type0.String() satisfies PayloadSchema
Type.Unknown() satisfies PayloadSchema
z.string() satisfies PayloadSchema
type('string') satisfies PayloadSchema
;({}) satisfies PayloadSchema
;({ $ref: 'address#' }) satisfies PayloadSchema
// @ts-expect-error a function that is no schema
;(() => true) satisfies PayloadSchema
// @ts-expect-error fields without a schema around them
;({ order: Type0.String() }) satisfies PayloadSchema
// @ts-expect-error misspelt key of a definition, in place
await app.register(cloudTasks, { tasks: { a: { payload: schema, pth: '/a' } } })
