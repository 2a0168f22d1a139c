import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root, type Complaint } from '../support/compiler.js'
import { complaints, replace, type Variant } from './compile.js'

t.setTimeout(180_000)

type Edits = NonNullable<Variant['edits']>

const withoutTransforms: Edits = { 'test/types/schemas/transforms.ts': () => 'export {}' }

const TYPEBOX_PROVIDER = "import type { TypeBoxTypeProvider as Provider } from 'type-provider-typebox-6'"
const JSON_SCHEMA_PROVIDER = "import type { JsonSchemaToTsProvider as Provider } from '@fastify/type-provider-json-schema-to-ts'"

/** The tasks of each library, in the program that holds them against what is promised for all. */
const libraries: ReadonlyArray<readonly [file: string, edits: Edits]> = [
  ['typebox', { ...tasksOf('typebox'), ...withoutTransforms }],
  ['typebox-1', { ...tasksOf('typebox-1'), ...withoutTransforms, ...typeProvider(TYPEBOX_PROVIDER) }],
  ['json-schema', { ...tasksOf('json-schema'), ...withoutTransforms, ...typeProvider(JSON_SCHEMA_PROVIDER) }],
  ['json-schema with the provider of TypeBox 1.x', { ...tasksOf('json-schema'), ...withoutTransforms, ...typeProvider(TYPEBOX_PROVIDER) }],
  ['zod', tasksOf('zod')],
  ['zod-3', tasksOf('zod-3')],
  ['valibot', tasksOf('valibot')],
  ['arktype', tasksOf('arktype')]
]

/** Each takes one promise of the types back. */
const broken: ReadonlyArray<readonly [what: string, Variant['program'], Edits]> = [
  ['a union of names passes', 'registered', {
    'lib/registry/definitions.d.ts': replace('true extends (string extends keyof M ? false : IsUnion<N>) ? never : ', '')
  }],
  ['a union of names is refused where nothing is registered', 'unregistered', {
    'lib/registry/definitions.d.ts': replace('(string extends keyof M ? false : IsUnion<N>)', 'IsUnion<N>')
  }],
  ['payloads are any', 'registered', {
    'lib/registry/definitions.d.ts': replace('}] ? S : never', '}] ? S & any : never')
  }],
  ['Register is not looked at', 'registered', {
    'lib/registry/definitions.d.ts': replace('Register extends {\n    tasks: infer M;\n} ? M : ', '')
  }],
  ['Register cannot be reached', 'registered', {
    'lib/index.d.ts': replace('Register, ', '')
  }],
  ['a forgotten handler goes unnoticed', 'registered', {
    'lib/registry/definitions.d.ts': replace('[N in keyof M & string]: TaskHandler', '[N in keyof M & string]?: TaskHandler')
  }],
  ['handlers have no this', 'registered', {
    'lib/registry/definitions.d.ts': replace('(this: FastifyInstance, payload: P', '(payload: P')
  }],
  ['drop returns', 'registered', {
    'lib/registry/definitions.d.ts': replace('drop(reason: string): never', 'drop(reason: string): void')
  }],
  ['any name can be enqueued', 'registered', {
    'lib/enqueue.d.ts': replace('<N extends keyof M & string>(name: N, payload: TaskPayload<M, N, F>', '(name: string, payload: unknown')
  }],
  ['items are not looked at', 'registered', {
    'lib/tasks.d.ts': replace('Iterable<EnqueueItem<TaskPayload<M, N, F>>>', 'Iterable<EnqueueItem<any>>')
  }],
  ['a plugin needs all handlers', 'registered', {
    'lib/options/options.d.ts': replace('handlers?: Partial<TaskHandlers<M, F>>', 'handlers?: TaskHandlers<M>')
  }],
  ['a plugin takes any handlers', 'registered', {
    'lib/options/options.d.ts': replace('handlers?: Partial<TaskHandlers<M, F>>', 'handlers?: Record<string, any>')
  }],
  ["Fastify's own signatures of register fit", 'registered', {
    'lib/plugin.d.ts': replace(' & {\n        readonly [everyHandlerHasItsTask]: never;\n    }', '')
  }],
  ['a misspelt key of a definition passes', 'schemas', {
    ...tasksOf('zod'), 'lib/registry/registry.d.ts': replace('definitions: M & KnownKeys<M>', 'definitions: M')
  }],
  ['what is no schema passes', 'schemas', {
    ...tasksOf('zod'), 'lib/registry/schema.d.ts': replace('StandardSchema | StaticSchema | JsonSchema', 'object')
  }],
  ['handlers get what was sent', 'schemas', {
    ...tasksOf('valibot'), 'lib/registry/schema.d.ts': replace("TypeOf<S, F, 'output'>", "TypeOf<S, F, 'input'>")
  }],
  ['what was transformed has to be sent', 'schemas', {
    ...tasksOf('arktype'), 'lib/registry/schema.d.ts': replace("TypeOf<S, F, 'input'>", "TypeOf<S, F, 'output'>")
  }],
  ['the type provider is not looked at', 'schemas', {
    ...tasksOf('typebox-1'), ...withoutTransforms, ...typeProvider(TYPEBOX_PROVIDER), 'lib/registry/definitions.d.ts': replace('typeProvider: infer F;\n} ? F : unknown', 'typeProvider: infer F;\n} ? unknown : unknown')
  }]
]

const wrong = [
  "app.enqueue('send-reciept', { order: '42', email: 'a@example.com' })",
  "app.enqueue('send-receipt', { order: '42', emial: 'a@example.com' })",
  "app.register(cloudTasks, { tasks, trnasport: 'local' })",
  "app.register(cloudTasks, { tasks, transport: 'redis' })",
  "app.register(cloudTasks, { tasks, handlers: { 'count-down': async () => {} } })"
]
const wrongOfEach = [
  "app.enqueue('send-reciept', { order: '42', email: 'a@example.com' })",
  "app.enqueue('send-receipt', { order: '42', emial: 'a@example.com' })",
  "app.enqueue('send-receipt', { order: '42' })",
  "defineTasks({ a: { payload: tasks.nightly.payload, pth: '/x' } })"
]
const schemaHead = "import Fastify from 'fastify'; import { defineTasks } from 'fastify-cloud-tasks'; import { tasks } from './tasks.js'; const app = Fastify()"
const head = "import Fastify from 'fastify'; import cloudTasks from 'fastify-cloud-tasks'; import { tasks } from './tasks.js'; const app = Fastify()"

const variants: Variant[] = [
  { program: 'registered' },
  { program: 'unregistered' },
  { program: 'registered', edits: { 'test/types/registered/added.ts': () => [head, ...wrong].join('\n') } },
  ...libraries.map(([, edits]) => ({ program: 'schemas', edits: { ...edits, 'test/types/schemas/added.ts': () => [schemaHead, ...wrongOfEach].join('\n') } }) as const),
  ...broken.map(([, program, edits]) => ({ program, edits }))
]
const [registered, unregistered, added, ...rest] = await complaints(variants)
const ofLibraries = rest.splice(0, libraries.length)

t.test('the type tests hold', async t => {
  t.same(registered, [])
  t.same(unregistered, [])
})

for (const [index, [library]] of libraries.entries()) {
  t.test(`tasks with the schemas of ${library} are typed exactly, and what is wrong does not compile`, async t => {
    t.same(ofLibraries[index]!.filter(({ file }) => file !== 'added.ts'), [])
  })

  t.test(`with the schemas of ${library} a complaint names what is wrong`, async t => {
    const [name, field, missing, key] = messagesOf(ofLibraries[index]!, wrongOfEach) as [string, string, string, string]
    for (const text of ['"send-reciept"', '"send-receipt"', '"ship-order"', '"nightly"']) t.ok(name.includes(text), name)
    t.ok(field.includes("'emial' does not exist") && field.includes("Did you mean to write 'email'?"), field)
    t.ok(missing.includes("Property 'email' is missing"), missing)
    t.ok(key.includes('UnknownKey<"pth">'), key)
  })
}

t.test('a complaint says what would be right', async t => {
  const [names, fields, option, value, handler] = messagesOf(added!, wrong)
  for (const name of ['send-receipt', 'resize-photo', 'countdown', 'nightly']) t.match(names, `"${name}"`)
  t.match(fields, "'emial' does not exist")
  t.match(fields, "Did you mean to write 'email'?")
  t.match(option, "'trnasport' does not exist")
  t.match(value, '"redis"')
  t.match(value, '"cloud"')
  t.match(handler, 'everyHandlerHasItsTask')
})

t.test('the type tests notice when a promise is taken back', async t => {
  for (const [index, [what]] of broken.entries()) t.not(rest[index]!.length, 0, what)
})

/** What was said of each of `lines`, which begin in line 2. */
function messagesOf (complaints: readonly Complaint[], lines: readonly string[]): string[] {
  return lines.map((_, index) => complaints.filter(({ line, file }) => file === 'added.ts' && line === index + 2).map(({ message }) => message).join('\n'))
}

/** The definitions that the tests of validation use, too. */
function tasksOf (library: string): Edits {
  const text = readFileSync(join(root, 'test/schemas/definitions', `${library}.ts`), 'utf8')
  return { 'test/types/schemas/tasks.ts': () => replace("'../../../lib/index.js'", "'fastify-cloud-tasks'")(text) }
}

function typeProvider (importProvider: string): Edits {
  return { 'test/types/schemas/provider.ts': () => `${importProvider}\ndeclare module 'fastify-cloud-tasks' { interface Register { typeProvider: Provider } }` }
}
