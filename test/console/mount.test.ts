import swagger from '@fastify/swagger'
import Fastify from 'fastify'
import t from 'tap'
import type { Overview } from '../../lib/console/api/api.js'
import taskConsole from '../../lib/console/plugin.js'
import cloudTasks from '../../lib/index.js'
import { serve, tasks } from './console-app.js'

t.test('the page', async t => {
  const { app } = await serve(t)

  t.test('is served with all it needs, under a strict policy', async t => {
    const page = await app.inject('/console/')
    t.equal(page.statusCode, 200)
    t.match(page.headers, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer'
    })
    for (const [, path] of page.body.matchAll(/(?:src|href)="([^"]+)"/g)) {
      const asset = await app.inject(`/console/${path}`)
      t.equal(asset.statusCode, 200, path!)
      t.ok(asset.headers['content-security-policy'])
    }
    t.notMatch(page.body, /<script(?![^>]*src=)|\son\w+=|style=/, 'nothing is inline')
    t.match((await app.inject('/console/assets/htm-preact.js')).body, /export/)
  })

  t.test('is reached without the slash, too, by a relative way', async t => {
    t.match((await app.inject('/console')).headers, { location: 'console/' })
  })

  t.test('has no other files than its own', async t => {
    for (const path of [
      '../console.ts',
      '..%2Fconsole.ts',
      '%2e%2e/console.ts',
      'none.js',
      '.',
      '',
      'a/../../plugin.ts',
      'index.html%00.js',
      '/etc/passwd',
      'toString'
    ]) {
      t.equal((await app.inject(`/console/assets/${path}`)).statusCode, 404, path)
    }
    t.match(await (await app.inject('/console/api/none')).json(), { error: { code: 'FST_TASKS_CONSOLE_REQUEST' } })
  })

  t.test('can stand elsewhere, at the root, and twice', async t => {
    for (const [prefix, at] of [['/a/b', '/a/b'], ['/', '']] as const) {
      const { app } = await serve(t, { console: { prefix }, before: app => app.register(taskConsole, { prefix: '/second' }) })
      t.equal((await app.inject(`${at}/`)).statusCode, 200)
      t.equal((await app.inject(`${at}/api/overview`)).statusCode, 200)
      t.equal((await app.inject('/second/api/overview')).statusCode, 200)
    }
    const slashes = await serve(t, { server: { routerOptions: { ignoreTrailingSlash: true } } })
    t.equal((await slashes.app.inject('/console')).statusCode, 302)
    t.equal((await slashes.app.inject('/console/')).statusCode, 200)
  })
})

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
