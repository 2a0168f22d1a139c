import t from 'tap'
import { complaints, replace, type Edits, type Program } from './compile.js'

t.setTimeout(180_000)

t.test('the type tests hold', async t => {
  t.same(complaints('registered'), [])
  t.same(complaints('unregistered'), [])
})

t.test('a complaint says what would be right', async t => {
  const [names, fields, option, value, handler] = about([
    "app.enqueue('send-reciept', { order: '42', email: 'a@example.com' })",
    "app.enqueue('send-receipt', { order: '42', emial: 'a@example.com' })",
    "app.register(cloudTasks, { tasks, trnasport: 'local' })",
    "app.register(cloudTasks, { tasks, transport: 'redis' })",
    "app.register(cloudTasks, { tasks, handlers: { 'count-down': async () => {} } })"
  ])
  t.match(names, '"send-receipt" | "resize-photo" | "countdown" | "nightly"')
  t.match(fields, "'emial' does not exist")
  t.match(fields, "Did you mean to write 'email'?")
  t.match(option, "'trnasport' does not exist")
  t.match(value, '"redis"')
  t.match(value, '"cloud"')
  t.match(handler, 'everyHandlerHasItsTask')
})

/** Each takes one promise of the types back. */
const broken: Array<[what: string, Program, Edits]> = [
  ['a union of names passes', 'registered', {
    'lib/registry.ts': replace('true extends (string extends keyof M ? false : IsUnion<N>) ? never : ', '')
  }],
  ['a union of names is refused where nothing is registered', 'unregistered', {
    'lib/registry.ts': replace('(string extends keyof M ? false : IsUnion<N>)', 'IsUnion<N>')
  }],
  ['payloads are any', 'registered', {
    'lib/registry.ts': replace('{ readonly payload: { readonly static: infer P } }] ? P : never', '{ readonly payload: { readonly static: infer P } }] ? P & any : never')
  }],
  ['Register is not looked at', 'registered', {
    'lib/registry.ts': replace('Register extends { tasks: infer M } ? M : ', '')
  }],
  ['Register cannot be reached', 'registered', {
    'lib/index.ts': replace('Register, ', '')
  }],
  ['a forgotten handler goes unnoticed', 'registered', {
    'lib/registry.ts': replace('{ readonly [N in keyof M & string]: TaskHandler', '{ readonly [N in keyof M & string]?: TaskHandler')
  }],
  ['handlers have no this', 'registered', {
    'lib/registry.ts': replace('(this: FastifyInstance, payload: P', '(payload: P')
  }],
  ['drop returns', 'registered', {
    'lib/registry.ts': replace('drop (reason: string): never', 'drop (reason: string): void')
  }],
  ['any name can be enqueued', 'registered', {
    'lib/enqueue.ts': replace('<N extends keyof M & string>(name: N, payload: TaskPayload<N, M>', '(name: string, payload: unknown')
  }],
  ['items are not looked at', 'registered', {
    'lib/tasks.ts': replace('Iterable<EnqueueItem<TaskPayload<N, M>>>', 'Iterable<EnqueueItem<any>>')
  }],
  ['a plugin needs all handlers', 'registered', {
    'lib/options.ts': replace('handlers?: Partial<TaskHandlers<M>>', 'handlers?: TaskHandlers<M>')
  }],
  ['a plugin takes any handlers', 'registered', {
    'lib/options.ts': replace('handlers?: Partial<TaskHandlers<M>>', 'handlers?: Record<string, any>')
  }],
  ["Fastify's own signatures of register fit", 'registered', {
    'lib/plugin.ts': replace(' & { readonly [everyHandlerHasItsTask]: never }', '')
  }]
]

t.test('the type tests notice when a promise is taken back', async t => {
  for (const [what, program, edits] of broken) {
    t.not(complaints(program, edits).length, 0, what)
  }
})

/** What the compiler says about each of `statements` in a file of the program that has registered its tasks. */
function about (statements: readonly string[]): string[] {
  const head = "import Fastify from 'fastify'; import cloudTasks from 'fastify-cloud-tasks'; import { tasks } from './tasks.js'; const app = Fastify()"
  const found = complaints('registered', { 'test/types/registered/added.ts': () => [head, ...statements].join('\n') })
  return statements.map((_, index) => found.filter(({ line }) => line === index + 2).map(({ message }) => message).join('\n'))
}
