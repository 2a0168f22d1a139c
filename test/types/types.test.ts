/**
 * Which file holds which guarantee for which library. `guarantees.ts` and `transforms.ts` are in `schemas/`, the others in
 * `registered/` and `unregistered/`; `messages` are the tests of complaints below.
 *
 * | guarantee                                    | TypeBox 0.34    | TypeBox 1.x, JSON Schema | Zod 4, Zod 3.24, Valibot, ArkType |
 * |----------------------------------------------|-----------------|--------------------------|-----------------------------------|
 * | payloads are exact, never any                | guarantees      | guarantees               | guarantees                        |
 * | any, where no type provider is registered    | -               | other-schemas            | -                                 |
 * | input for enqueue, output for the handler    | -               | -                        | transforms                        |
 * | unknown name, in enqueue, run and handlers   | guarantees      | guarantees               | guarantees                        |
 * | missing, wrong, misspelt, superfluous field  | guarantees      | guarantees               | guarantees                        |
 * | payload of another task                      | guarantees      | guarantees               | guarantees                        |
 * | union of names                               | guarantees      | guarantees               | guarantees                        |
 * | misspelt key of a definition, no schema      | guarantees      | guarantees               | guarantees                        |
 * | no circle: a handler enqueues and returns it | guarantees      | guarantees               | guarantees                        |
 * | one handler in a file of its own             | guarantees      | guarantees               | guarantees                        |
 * | several registries, each its own provider    | other-schemas   | other-schemas            | other-schemas                     |
 * | a complaint names what is wrong              | messages        | messages                 | messages                          |
 * | the example in docs/schemas.md               | examples        | examples                 | examples (without Zod 3.24)       |
 * | calls, options, handlers, plugin in detail   | registered/     | by the rows above        | by the rows above                 |
 */
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

/** A promise of the types that is taken back, and the line of the type tests that then does not compile. */
interface Break {
  readonly what: string
  readonly file: string
  readonly edit: readonly [text: string, by: string]
  /** In a group it is a line that complains of this break alone. */
  readonly line: string
}

const [definitions, schema] = ['lib/registry/definitions.d.ts', 'lib/registry/schema.d.ts']

/** Those of a group are broken in one program. */
const broken: ReadonlyArray<readonly [program: Variant['program'], edits: Edits, breaks: readonly Break[]]> = [
  ['registered', {}, [
    {
      what: 'a union of names passes',
      file: definitions,
      edit: ['true extends (string extends keyof M ? false : IsUnion<N>) ? never : ', ''],
      line: '// @ts-expect-error union of names, whatever the payload'
    },
    {
      what: 'a forgotten handler goes unnoticed',
      file: definitions,
      edit: ['[N in keyof M & string]: TaskHandler', '[N in keyof M & string]?: TaskHandler'],
      line: '// @ts-expect-error forgotten handlers'
    },
    {
      what: 'handlers have no this',
      file: definitions,
      edit: ['(this: FastifyInstance, payload: P', '(payload: P'],
      line: "return await this.tasks.run('countdown', { from: 3 })"
    },
    {
      what: 'drop returns',
      file: definitions,
      edit: ['drop(reason: string): never', 'drop(reason: string): void'],
      line: "task.drop('no width')"
    },
    {
      what: 'items are not looked at',
      file: 'lib/tasks.d.ts',
      edit: ['Iterable<EnqueueItem<TaskPayload<M, N, F>>>', 'Iterable<EnqueueItem<any>>'],
      line: '// @ts-expect-error one item has the wrong payload'
    },
    {
      what: "Fastify's own signatures of register fit",
      file: 'lib/plugin.d.ts',
      edit: [' & {\n        readonly [everyHandlerHasItsTask]: never;\n    }', ''],
      line: '// @ts-expect-error no such task'
    }
  ]],
  ['registered', {}, [
    {
      what: 'payloads are any',
      file: definitions,
      edit: ['}] ? S : never', '}] ? S & any : never'],
      line: "Equal<TaskPayload<RegisteredTasks, 'nightly'>, null>"
    },
    {
      what: 'any name can be enqueued',
      file: 'lib/enqueue.d.ts',
      edit: ['<N extends keyof M & string>(name: N, payload: TaskPayload<M, N, F>', '(name: string, payload: unknown'],
      line: '// @ts-expect-error a string may be any name'
    },
    {
      what: 'a plugin needs all handlers',
      file: 'lib/options/options.d.ts',
      edit: ['handlers?: Partial<TaskHandlers<M, F>>', 'handlers?: TaskHandlers<M>'],
      line: 'handlers: { countdown: handlers.countdown } }).get('
    }
  ]],
  ['registered', {}, [
    {
      what: 'Register is not looked at',
      file: definitions,
      edit: ['Register extends {\n    tasks: infer M;\n} ? M : ', ''],
      line: 'Equal<RegisteredTasks, typeof tasks>'
    },
    {
      what: 'a plugin takes any handlers',
      file: 'lib/options/options.d.ts',
      edit: ['handlers?: Partial<TaskHandlers<M, F>>', 'handlers?: Record<string, any>'],
      line: '// @ts-expect-error no function'
    }
  ]],
  ['registered', {}, [
    { what: 'Register cannot be reached', file: 'lib/index.d.ts', edit: ['Register, ', ''], line: 'Equal<RegisteredTasks, typeof tasks>' }
  ]],
  ['unregistered', {}, [
    {
      what: 'a union of names is refused where nothing is registered',
      file: definitions,
      edit: ['(string extends keyof M ? false : IsUnion<N>)', 'IsUnion<N>'],
      line: "await app.enqueue(Math.random() < 0.5 ? 'a' : 'b', 3)"
    }
  ]],
  ['schemas', tasksOf('valibot'), [
    {
      what: 'a misspelt key of a definition passes',
      file: 'lib/registry/registry.d.ts',
      edit: ['definitions: M & KnownKeys<M>', 'definitions: M'],
      line: '// @ts-expect-error misspelt key of a definition, beside a good one'
    },
    {
      what: 'what is no schema passes',
      file: schema,
      edit: ['StandardSchema | StaticSchema | JsonSchema', 'object'],
      line: '// @ts-expect-error no schema'
    },
    {
      what: 'handlers get what was sent',
      file: schema,
      edit: ["OutputOf<S, F> = TypeOf<S, F, 'output'>", "OutputOf<S, F> = TypeOf<S, F, 'input'>"],
      line: 'Equal<typeof from, number>'
    },
    {
      what: 'what was transformed has to be sent',
      file: schema,
      edit: ["InputOf<S, F> = TypeOf<S, F, 'input'>", "InputOf<S, F> = TypeOf<S, F, 'output'>"],
      line: "Equal<TaskPayload<typeof tasks, 'count-down'>['from'], string>"
    }
  ]],
  ['schemas', { ...tasksOf('json-schema'), ...withoutTransforms, ...typeProvider(JSON_SCHEMA_PROVIDER) }, [
    {
      what: 'the type provider is not looked at',
      file: definitions,
      edit: ['typeProvider: infer F;\n} ? F : unknown', 'typeProvider: infer F;\n} ? unknown : unknown'],
      line: "Equal<TaskPayload<typeof tasks, 'nightly'>, null>"
    }
  ]]
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

/** The examples of docs/schemas.md, each with a `Register` of its own, and with what must follow from it. */
const examples: Edits = Object.fromEntries(
  [...readFileSync(join(root, 'docs/schemas.md'), 'utf8').matchAll(/^```ts\n([^]*?)^```/gm)].map(([, code], index) => [
    `test/types/unregistered/example-${index + 1}.ts`,
    () => [
      replace('interface Register {', `interface Example${index + 1} {`)(code!)
        .replace("'@fastify/type-provider-typebox'", "'type-provider-typebox-6'"),
      `import type { Example${index + 1} as Example, TaskPayload } from 'fastify-cloud-tasks'`,
      "import type { Equal } from '../equal.js'",
      'type Provider = Example extends { typeProvider: infer F } ? F : unknown',
      "true satisfies Equal<TaskPayload<Example['tasks'], 'send-receipt', Provider>, { order: string, email: string }>"
    ].join('\n')
  ])
)

const variants: Variant[] = [
  { program: 'registered', edits: { 'test/types/registered/added.ts': () => [head, ...wrong].join('\n') } },
  { program: 'unregistered', edits: examples },
  ...libraries.map(([, edits]) => ({ program: 'schemas', edits: { ...edits, 'test/types/schemas/added.ts': () => [schemaHead, ...wrongOfEach].join('\n') } }) as const),
  ...broken.map(([program, edits, breaks]) => ({ program, edits: { ...edits, ...editsOf(breaks) } }))
]
const [registered, unregistered, ...rest] = await complaints(variants)
const ofLibraries = rest.splice(0, libraries.length)

t.test('the type tests hold', async t => {
  t.same(registered!.filter(({ file }) => file !== 'added.ts'), [])
  t.same(unregistered!.filter(({ file }) => !file.startsWith('example-')), [])
})

t.test('the examples of docs/schemas.md compile, and type the payload', async t => {
  t.equal(Object.keys(examples).length, 6)
  t.same(unregistered!.filter(({ file }) => file.startsWith('example-')), [])
})

for (const [index, [library]] of libraries.entries()) {
  t.test(`tasks with the schemas of ${library} are typed exactly, and what is wrong does not compile`, async t => {
    t.same(ofLibraries[index]!.filter(({ file }) => file !== 'added.ts'), [])
  })

  t.test(`with the schemas of ${library} a compiler error shows the problem`, async t => {
    const [name, field, missing, key] = messagesOf(ofLibraries[index]!, wrongOfEach) as [string, string, string, string]
    for (const text of ['"send-reciept"', '"send-receipt"', '"ship-order"', '"nightly"']) t.ok(name.includes(text), name)
    t.ok(field.includes("'emial' does not exist") && field.includes("Did you mean to write 'email'?"), field)
    t.ok(missing.includes("Property 'email' is missing"), missing)
    t.ok(key.includes('UnknownKey<"pth">'), key)
  })
}

t.test('a compiler error shows how to fix it', async t => {
  const [names, fields, option, value, handler] = messagesOf(registered!, wrong)
  for (const name of ['send-receipt', 'resize-photo', 'countdown', 'nightly']) t.match(names, `"${name}"`)
  t.match(fields, "'emial' does not exist")
  t.match(fields, "Did you mean to write 'email'?")
  t.match(option, "'trnasport' does not exist")
  t.match(value, '"redis"')
  t.match(value, '"cloud"')
  t.match(handler, 'everyHandlerHasItsTask')
})

t.test('the type tests notice when a promise is taken back', async t => {
  for (const [index, [program, , breaks]] of broken.entries()) {
    const lines = rest[index]!.map(complaint => lineOf(program, complaint))
    for (const { what, line } of breaks) t.ok(lines.some(text => text.includes(line)), what)
  }
})

/** What was said of each of `lines`, which begin in line 2. */
function messagesOf (complaints: readonly Complaint[], lines: readonly string[]): string[] {
  return lines.map((_, index) => complaints.filter(({ line, file }) => file === 'added.ts' && line === index + 2).map(({ message }) => message).join('\n'))
}

/** The line of a type test that does not compile; empty where it is in a file of the variant's own. */
function lineOf (program: Variant['program'], { file, line }: Complaint): string {
  if (file === 'tasks.ts' && program === 'schemas') return ''
  return readFileSync(join(root, 'test/types', program, file), 'utf8').split('\n')[line - 1]!
}

function editsOf (breaks: readonly Break[]): Edits {
  const edits: Record<string, Edits[string]> = {}
  for (const { file, edit: [text, by] } of breaks) {
    const before = edits[file]
    edits[file] = source => replace(text, by)(before === undefined ? source : before(source))
  }
  return edits
}

/** The definitions that the tests of validation use, too. */
function tasksOf (library: string): Edits {
  const text = readFileSync(join(root, 'test/registry/definitions', `${library}.ts`), 'utf8')
  return { 'test/types/schemas/tasks.ts': () => replace("'../../../lib/index.js'", "'fastify-cloud-tasks'")(text) }
}

function typeProvider (importProvider: string): Edits {
  return { 'test/types/schemas/provider.ts': () => `${importProvider}\ndeclare module 'fastify-cloud-tasks' { interface Register { typeProvider: Provider } }` }
}
