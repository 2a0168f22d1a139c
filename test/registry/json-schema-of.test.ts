import { Type } from '@sinclair/typebox'
import swagger from '@fastify/swagger'
import { type } from 'arktype'
import Fastify from 'fastify'
import t from 'tap'
import * as v from 'valibot'
import * as z from 'zod'
import type { Overview } from '../../lib/console/api/api.js'
import taskConsole from '../../lib/console/plugin.js'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { command, IMPORTS } from '../cli/terminal.js'

const node = z.object({ name: z.string(), get children () { return z.array(node) } })
const tasks = defineTasks({
  typebox: { payload: Type.Object({ email: Type.String({ format: 'email' }) }) },
  zod: { payload: z.object({ email: z.email(), from: z.string().transform(Number) }) },
  arktype: { payload: type({ email: 'string.email', from: 'string.numeric.parse' }) },
  'zod-recursive': { payload: node },
  'zod-date': { payload: z.object({ at: z.coerce.date() }) },
  valibot: { payload: v.object({ email: v.string() }) }
})
const handlers = Object.fromEntries(Object.keys(tasks).map(name => [name, () => {}])) as Record<keyof typeof tasks, () => void>

t.test('app.tasks.list() and the console show what is sent as JSON Schema, and nothing where the library has none', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cloudTasks, { tasks, handlers, transport: 'local' })
  await app.register(taskConsole)
  await app.ready()
  const schemas = Object.fromEntries(app.tasks.list().map(({ name, schema }) => [name, schema])) as Record<string, any>
  t.equal(schemas.typebox, tasks.typebox.payload)
  t.match(schemas.zod, {
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    properties: { email: { type: 'string', format: 'email' }, from: { type: 'string' } },
    required: ['email', 'from']
  })
  t.match(schemas.arktype, { type: 'object', properties: { email: { type: 'string' }, from: { type: 'string' } } })
  t.match(schemas['zod-recursive'], { properties: { children: { items: { $ref: '#' } } } })
  t.equal(schemas['zod-date'], undefined)
  t.equal(schemas.valibot, undefined)

  const overview = (await app.inject('/console/api/overview')).json<Overview>()
  const shown = Object.fromEntries((overview.tasks ?? []).map(({ name, schema }) => [name, schema]))
  t.same(shown.zod, schemas.zod)
  t.equal(shown.valibot, undefined)
  const validated = await app.inject({
    method: 'POST',
    url: '/console/api/validate',
    headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': overview.token },
    payload: { task: 'valibot', text: '{"email":7}' }
  })
  t.same(
    validated.json(),
    { ok: false, errors: [{ path: '/email', message: 'Invalid type: Expected string but received 7' }] },
    "its author sees the library's own words"
  )
})

t.test('OpenAPI documents show what is sent, and any JSON where it cannot be described on its own', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, { openapi: { info: { title: 'test', version: '1' } } })
  await app.register(cloudTasks, { tasks, handlers, transport: 'local', exposeRoutes: true })
  await app.ready()
  const document = JSON.parse(JSON.stringify(app.swagger())) as {
    paths: Record<string, { post: { requestBody?: { content: Record<string, { schema: unknown }> } } }>
  }
  const body = (name: string) => document.paths[`/tasks/${name}`]?.post.requestBody?.content['application/json']?.schema
  t.match(body('typebox'), { type: 'object', properties: { email: { type: 'string', format: 'email' } } })
  t.match(body('zod'), { type: 'object', properties: { email: { type: 'string', format: 'email' }, from: { type: 'string' } } })
  t.match(body('arktype'), { type: 'object', properties: { from: { type: 'string' } } })
  for (const name of ['zod-recursive', 'zod-date', 'valibot']) t.same(body(name), {}, name)
})

t.test('the command line', async t => {
  const app = `${IMPORTS}
    import * as v from 'valibot'
    import * as z from 'zod'
    const tasks = defineTasks({
      zod: { payload: z.object({ order: z.string(), email: z.email(), from: z.string().default('3').transform(Number) }) },
      'zod-date': { payload: z.object({ at: z.coerce.date() }) },
      valibot: { payload: v.object({ email: v.pipe(v.string(), v.email()) }) }
    })
    const handler = payload => payload
    export default async app => { await app.register(cloudTasks, { tasks, handlers: { zod: handler, 'zod-date': handler, valibot: handler } }) }`

  t.test('list --json has the schema of what is sent, and none where there is none', async t => {
    const cwd = t.testdir({ 'app.js': app, node_modules: t.fixture('symlink', process.cwd() + '/node_modules') })
    const listed = JSON.parse((await command(['list', '--json'], { cwd })).out) as Array<{ name: string, schema?: unknown }>
    t.match(listed[0], {
      name: 'zod',
      schema: {
        type: 'object',
        properties: { email: { format: 'email' }, from: { type: 'string', default: '3' } },
        required: ['order', 'email']
      }
    })
    t.equal('schema' in listed[1]!, false)
    t.equal('schema' in listed[2]!, false)
  })

  t.test('run shows a valid payload, or says that the schema cannot be shown', async t => {
    const cwd = t.testdir({ 'app.js': app, node_modules: t.fixture('symlink', process.cwd() + '/node_modules') })
    const { code, err } = await command(['run', 'zod'], { cwd })
    t.equal(code, 1)
    t.ok(err.includes('A valid payload:\n  fastify-cloud-tasks run zod \'{"order":"text","email":"ada@example.com","from":"3"}\''), err)
    const ran = await command(['run', 'zod', '{"order":"42","email":"ada@example.com","from":"7"}'], { cwd })
    t.same(JSON.parse(ran.out), { order: '42', email: 'ada@example.com', from: 7 }, 'its transform ran once')
    const valibot = await command(['run', 'valibot'], { cwd })
    t.equal(valibot.code, 1)
    t.ok(valibot.err.includes('Its schema cannot be shown'), valibot.err)
  })

  t.test('run shows the invalid fields with the messages of the library', async t => {
    const cwd = t.testdir({ 'app.js': app, node_modules: t.fixture('symlink', process.cwd() + '/node_modules') })
    const zod = await command(['run', 'zod', '{"order":"42","email":"nobody"}'], { cwd })
    t.ok(zod.err.includes('  email  Invalid email address\n'), zod.err)
    const valibot = await command(['run', 'valibot', '{"email":"nobody"}'], { cwd })
    t.ok(valibot.err.includes('  email  Invalid email: Received "nobody"\n'), valibot.err)
  })
})
