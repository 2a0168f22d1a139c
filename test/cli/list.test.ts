import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { IMPORTS, appSource, command } from './terminal.js'

t.test('a table shows every task', async t => {
  const cwd = t.testdir({ 'app.js': appSource() })
  const { code, out, err } = await command(['list'], { cwd })
  t.equal(code, 0)
  t.equal(out, `NAME        METHOD  PATH               QUEUE    HANDLER
greet       POST    /tasks/greet       default  yes
fail        POST    /tasks/fail        default  yes
drop        POST    /tasks/drop        default  yes
give        PUT     /tasks/give        slow     yes
wait        POST    /tasks/wait        default  yes
chain       POST    /tasks/chain       default  yes
no-handler  POST    /tasks/no-handler  default  no
`)
  t.equal(err, '')
})

t.test('--json adds the schemas', async t => {
  const cwd = t.testdir({ 'app.js': appSource() })
  const { out } = await command(['list', '--json'], { cwd })
  t.match(JSON.parse(out)[0], {
    name: 'greet',
    method: 'POST',
    path: '/tasks/greet',
    queue: 'default',
    handler: true,
    schema: { type: 'object', required: ['name'] }
  })
})

t.test('misspelt and superfluous flags are reported', async t => {
  t.match(await command(['list', '--jsno']), { code: 2, err: /no flag '--jsno'; did you mean '--json'\?/ })
  t.match(await command(['list', '-x']), { code: 2, err: /no flag '-x'/ })
  t.match(await command(['list', '-a']), { code: 2, err: /'list': .*-a/ })
  t.match(await command(['list', 'all']), { code: 2, err: /'all'/ })
  for (const args of [
    ['list', '--help'],
    ['help', 'list'],
    ['list', '-a', 'nowhere.js', '-h']
  ]) { t.match(await command(args), { code: 0, out: /^Usage: fastify-cloud-tasks list \[-a APP\]/ }) }
})

t.test('every way to export a plugin is taken', async t => {
  const cwd = t.testdir({
    'wrapped.js': `${IMPORTS} import fp from 'fastify-plugin'
      export default fp(async app => { await app.register(cloudTasks, { tasks: defineTasks({ one: { payload: Type.Any() } }) }) })`,
    'callback.js': `${IMPORTS} export default (app, options, done) => { app.register(cloudTasks, { tasks: defineTasks({ one: { payload: Type.Any() } }) }); done() }`,
    'promise.js': `${IMPORTS} export default Promise.resolve(async app => { await app.register(cloudTasks, { tasks: defineTasks({ one: { payload: Type.Any() } }) }) })`,
    'twice.js': `${IMPORTS} export default { default: async app => { await app.register(cloudTasks, { tasks: defineTasks({ one: { payload: Type.Any() } }) }) } }`,
    'common.cjs':
      "module.exports = async app => { const { default: inner } = await import('./promise.js'); await app.register(await inner) }",
    'transpiled.cjs':
      "Object.defineProperty(exports, '__esModule', { value: true }); exports.default = async app => { const { default: inner } = await import('./promise.js'); await app.register(await inner) }",
    'inside.js': `${IMPORTS} export default async app => { await app.register(async child => { await child.register(cloudTasks, { tasks: defineTasks({ one: { payload: Type.Any() } }) }) }, { prefix: '/inside' }) }`,
    'typed.ts': `${IMPORTS} export default async function (app: any): Promise<void> { await app.register(cloudTasks, { tasks: defineTasks({ one: { payload: Type.Any() } }) }) }`
  })
  t.match(
    (await command(['list', '-a', 'inside.js'], { cwd })).out,
    /one +POST +\/inside\/tasks\/one/,
    'an encapsulated instance is reached'
  )
  for (const file of ['wrapped.js', 'callback.js', 'promise.js', 'twice.js', 'common.cjs', 'transpiled.cjs', 'typed.ts']) {
    t.match(await command(['list', '--app', file], { cwd }), { code: 0, out: /^one +POST +\/tasks\/one/m }, file)
  }
})

t.test('the export options reaches the server and the plugin', async t => {
  const cwd = t.testdir({
    'app.js': `${IMPORTS}
      export const options = { bodyLimit: 4242, logger: { level: 'warn', transport: { target: 'never-loaded' } }, own: 'yes' }
      export default async (app, { own }) => {
        app.log.info('below the level')
        app.log.warn({ own, limit: app.initialConfig.bodyLimit }, 'at the level')
        await app.register(cloudTasks, { tasks: defineTasks({}) })
      }`
  })
  const { code, err } = await command(['list'], { cwd })
  t.equal(code, 0)
  t.match(JSON.parse(err), { msg: 'at the level', own: 'yes', limit: 4242 })
})

t.test('what is wrong with an app is said', async t => {
  const cwd = t.testdir({
    'unreadable.js': "import 'data:text/javascript,not a script'",
    'throws.js': "throw new TypeError('as it loads')",
    'rejects.js': "export default Promise.reject(new Error('too bad'))",
    'nothing.js': 'export const app = 1',
    'number.js': 'export default 5',
    'instance.js': "import Fastify from 'fastify'; export default Fastify()",
    'options.js': 'export const options = 3; export default async () => {}',
    'plain.js': 'export default async () => {}',
    'boot.js': "export default async () => { throw new Error('no database') }",
    'ready.js': "export default async app => { app.addHook('onReady', async () => { throw new Error('not ready') }) }",
    'misspelt.js': `${IMPORTS} export default async app => { await app.register(cloudTasks, { tasks: defineTasks({}), queus: {} }) }`,
    empty: {}
  })
  const list = async (app: string) => await command(['list', '-a', app], { cwd })
  t.match(await list('absent.js'), { code: 1, out: '', err: /there is no file .*absent\.js/ })
  t.match(await command(['list'], { cwd: join(cwd, 'empty') }), { code: 1, err: /none of app\.js, app\.mjs, app\.cjs, app\.ts exists/ })
  t.match(await list('.'), { code: 1, out: '', err: /expected a file, found the directory/ })
  t.match(await list('unreadable.js'), { code: 1, err: /failed to load; 'node .*unreadable\.js' shows where\nSyntaxError: / })
  t.match(await list('throws.js'), { code: 1, err: /failed to load\nTypeError: as it loads\n +at .*throws\.js:1/ })
  t.match(await list('rejects.js'), { code: 1, err: /rejected\nError: too bad/ })
  t.match(await list('nothing.js'), { code: 1, err: /has no default export; .*must be a Fastify plugin/ })
  t.match(await list('number.js'), { code: 1, err: /has a number as its default export/ })
  t.match(await list('instance.js'), { code: 1, err: /exports a Fastify instance/ })
  t.match(await list('options.js'), { code: 1, err: /'options' must be an object/ })
  t.match(await list('plain.js'), { code: 1, err: /does not register fastify-cloud-tasks/ })
  t.match(await list('boot.js'), { code: 1, err: /failed to start\nError: no database\n +at / })
  t.match(await list('ready.js'), { code: 1, err: /failed to start\nError: not ready/ })
  t.match(await list('misspelt.js'), { code: 1, err: /unknown option 'queus'; did you mean 'queues?'\?.*FST_TASKS_INVALID_OPTION/ })
})

t.test('the app is closed afterwards, and a failing close is reported', async t => {
  const cwd = t.testdir({
    'app.js': `${IMPORTS} export default async app => {
      await app.register(cloudTasks, { tasks: defineTasks({}) })
      app.addHook('onClose', async () => { throw new Error('stuck') })
    }`
  })
  t.match(await command(['list'], { cwd }), { code: 0, err: /failed to close: Error: stuck/ })
})

t.test('loading can be interrupted', async t => {
  const cwd = t.testdir({
    'app.js':
      'export const options = { pluginTimeout: 500 }; export default async app => { app.log.info("loading"); await new Promise(() => {}) }'
  })
  const controller = new AbortController()
  const ended = command(['list'], { cwd, signal: controller.signal, onStderr: () => { controller.abort('SIGINT') } })
  t.match(await ended, { code: 130, err: /interrupted by SIGINT/ })
})

t.test('tasks in a directory neither run nor keep list and run from working beside the server that has it open', async t => {
  const directory = join(t.testdir({}), 'queue')
  const cwd = t.testdir({ 'app.js': appSource(`transport: 'local', local: { directory: ${JSON.stringify(directory)} }`) })
  t.match(await command(['list'], { cwd }), { code: 0, out: /greet/ })
  t.match(await command(['run', 'greet', '{"name":"Ada"}'], { cwd }), { code: 0, out: /"Ada"/ })
  t.notOk(existsSync(directory), 'nor do they make it')

  const tasks = defineTasks({ greet: { payload: {} as never } })
  const server = Fastify()
  await server.register(cloudTasks, { tasks, transport: 'local', local: { directory } })
  await server.ready()
  await tasksOf(server, tasks).enqueue('greet', { name: 'waiting' } as never)
  t.match(await command(['list'], { cwd }), { code: 0, out: /greet/ })
  t.match(await command(['run', 'greet', '{"name":"Ada"}'], { cwd }), { code: 0, out: /"Ada"/ })
  t.match(await command(['enqueue', 'greet', '{"name":"Ada"}'], { cwd }), { code: 1, err: /already has this directory open/ })
  await server.close()

  const ends: unknown[] = []
  const listener = (event: unknown): void => { ends.push(event) }
  subscribe('tracing:fastify-cloud-tasks:attempt:start', listener)
  t.teardown(() => { unsubscribe('tracing:fastify-cloud-tasks:attempt:start', listener) })
  t.match(await command(['list'], { cwd }), { code: 0 })
  t.match(await command(['enqueue', 'greet', '{"name":"Bob"}', '--id', 'bob', '--delay', '0'], { cwd }), {
    code: 0,
    out: /"duplicate": false/
  })
  t.match(await command(['enqueue', 'greet', '{"name":"Bob"}', '--id', 'bob'], { cwd }), { code: 0, out: /"duplicate": true/ })
  t.same(ends, [])

  const done: string[] = []
  const worker = Fastify()
  await new Promise<void>((resolve, reject) => {
    worker.register(cloudTasks, {
      tasks,
      transport: 'local',
      local: { directory },
      handlers: { async greet ({ name }: any) { if (done.push(name) === 2) resolve() } }
    } as never)
    worker.ready(error => { if (error) reject(error) })
  })
  await worker.close()
  t.same(done.sort(), ['Bob', 'waiting'])
})
