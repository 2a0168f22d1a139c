import swagger from '@fastify/swagger'
import Fastify from 'fastify'
import t from 'tap'
import type { Overview } from '../../lib/console/api/api.js'
import taskConsole from '../../lib/console/plugin.js'
import cloudTasks from '../../lib/index.js'
import { serve, tasks } from './console-app.js'

t.test('options that are unknown or invalid are rejected by name', async t => {
  const bad: Array<[object, RegExp]> = [
    [{ atuh: () => {} }, /unknown option 'atuh'; did you mean 'auth'/],
    [{ auth: true }, /'auth' must be a function, an array of functions, or 'inherited'/],
    [{ auth: [] }, /'auth' must be a function, an array of functions, or 'inherited'/],
    [{ auth: [() => {}, 'inherited'] }, /'auth' must be a function, an array of functions, or 'inherited'/],
    [{ auth: null }, /'auth' must be a function/],
    [{ auth: undefined }, /'auth' is undefined; await the registration/],
    [
      { auth: async (_request: unknown, _reply: unknown, _done: unknown) => {} },
      /'auth' must be either async or have the parameter 'done'/
    ],
    [{ history: -1 }, /'history' must be a whole number from 0 to 10000/],
    [{ history: '5' }, /'history'/],
    [{ hosts: [1] }, /'hosts'/],
    [{ title: 1 }, /'title' must be a string/]
  ]
  for (const [options, message] of bad) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => { await app.register(taskConsole, options) }, { code: 'FST_TASKS_INVALID_OPTION', message })
  }
})

t.test('a console', async t => {
  t.test('without the plugin is rejected', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    app.register(taskConsole)
    await t.rejects(async () => { await app.ready() }, { code: 'FST_TASKS_PLUGIN_MISSING' })
  })

  t.test('finds the plugin of an instance above, registered before', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, transport: 'local' })
    await app.register(async child => { await child.register(taskConsole, { prefix: '/inner' }) }, { prefix: '/outer' })
    t.equal((await app.inject('/outer/inner/api/overview')).json<Overview>().tasks!.length, 4)
  })

  t.test('is in no OpenAPI document, and quiet in the log', async t => {
    const lines: string[] = []
    const { app } = await serve(t, {
      before: app => app.register(swagger as never),
      server: {
        logger: {
          level: 'info',
          stream: {
            write: (line: string) => {
              lines.push(line)
            }
          }
        }
      }
    })
    t.same(Object.keys((app as unknown as { swagger: () => { paths?: object } }).swagger().paths ?? {}), [])
    lines.length = 0
    await app.inject('/console/')
    await app.inject('/console/api/overview')
    t.same(lines, [])
  })
})
