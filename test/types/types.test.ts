import t from 'tap'
import { complaints, replace, type Variant } from './compile.js'

t.setTimeout(180_000)

/** Each takes one promise of the types back. */
const broken: Array<[what: string, Variant['program'], NonNullable<Variant['edits']>]> = [
  ['a union of names passes', 'registered', {
    'lib/registry/registry.d.ts': replace('true extends (string extends keyof M ? false : IsUnion<N>) ? never : ', '')
  }],
  ['a union of names is refused where nothing is registered', 'unregistered', {
    'lib/registry/registry.d.ts': replace('(string extends keyof M ? false : IsUnion<N>)', 'IsUnion<N>')
  }],
  ['payloads are any', 'registered', {
    'lib/registry/registry.d.ts': replace('}] ? P : never', '}] ? P & any : never')
  }],
  ['Register is not looked at', 'registered', {
    'lib/registry/registry.d.ts': replace('Register extends {\n    tasks: infer M;\n} ? M : ', '')
  }],
  ['Register cannot be reached', 'registered', {
    'lib/index.d.ts': replace('Register, ', '')
  }],
  ['a forgotten handler goes unnoticed', 'registered', {
    'lib/registry/registry.d.ts': replace('[N in keyof M & string]: TaskHandler', '[N in keyof M & string]?: TaskHandler')
  }],
  ['handlers have no this', 'registered', {
    'lib/registry/registry.d.ts': replace('(this: FastifyInstance, payload: P', '(payload: P')
  }],
  ['drop returns', 'registered', {
    'lib/registry/registry.d.ts': replace('drop(reason: string): never', 'drop(reason: string): void')
  }],
  ['any name can be enqueued', 'registered', {
    'lib/enqueue.d.ts': replace('<N extends keyof M & string>(name: N, payload: TaskPayload<N, M>', '(name: string, payload: unknown')
  }],
  ['items are not looked at', 'registered', {
    'lib/tasks.d.ts': replace('Iterable<EnqueueItem<TaskPayload<N, M>>>', 'Iterable<EnqueueItem<any>>')
  }],
  ['a plugin needs all handlers', 'registered', {
    'lib/options/options.d.ts': replace('handlers?: Partial<TaskHandlers<M>>', 'handlers?: TaskHandlers<M>')
  }],
  ['a plugin takes any handlers', 'registered', {
    'lib/options/options.d.ts': replace('handlers?: Partial<TaskHandlers<M>>', 'handlers?: Record<string, any>')
  }],
  ["Fastify's own signatures of register fit", 'registered', {
    'lib/plugin.d.ts': replace(' & {\n        readonly [everyHandlerHasItsTask]: never;\n    }', '')
  }]
]

const wrong = [
  "app.enqueue('send-reciept', { order: '42', email: 'a@example.com' })",
  "app.enqueue('send-receipt', { order: '42', emial: 'a@example.com' })",
  "app.register(cloudTasks, { tasks, trnasport: 'local' })",
  "app.register(cloudTasks, { tasks, transport: 'redis' })",
  "app.register(cloudTasks, { tasks, handlers: { 'count-down': async () => {} } })"
]
const head = "import Fastify from 'fastify'; import cloudTasks from 'fastify-cloud-tasks'; import { tasks } from './tasks.js'; const app = Fastify()"

const [registered, unregistered, added, ...taken] = await complaints([
  { program: 'registered' },
  { program: 'unregistered' },
  { program: 'registered', edits: { 'test/types/registered/added.ts': () => [head, ...wrong].join('\n') } },
  ...broken.map(([, program, edits]) => ({ program, edits }))
])

t.test('the type tests hold', async t => {
  t.same(registered, [])
  t.same(unregistered, [])
})

t.test('a complaint says what would be right', async t => {
  const [names, fields, option, value, handler] = wrong.map((_, index) => added!.filter(({ line }) => line === index + 2).map(({ message }) => message).join('\n'))
  for (const name of ['send-receipt', 'resize-photo', 'countdown', 'nightly']) t.match(names, `"${name}"`)
  t.match(fields, "'emial' does not exist")
  t.match(fields, "Did you mean to write 'email'?")
  t.match(option, "'trnasport' does not exist")
  t.match(value, '"redis"')
  t.match(value, '"cloud"')
  t.match(handler, 'everyHandlerHasItsTask')
})

t.test('the type tests notice when a promise is taken back', async t => {
  for (const [index, [what]] of broken.entries()) t.not(taken[index]!.length, 0, what)
})
