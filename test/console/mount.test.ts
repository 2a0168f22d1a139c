import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { Overview } from '../../lib/console/api/api.js'
import { mountConsole } from '../../lib/console/mount.js'
import { resolveConsole, type ConsoleOptions } from '../../lib/console/options.js'
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

/** Mounts a console on an instance that only notes what is done to it. */
async function mounted (options: ConsoleOptions, { hooks, addresses = [] }: { hooks?: object, addresses?: unknown[] } = {}) {
  const prefixes: unknown[] = []
  const warnings: string[] = []
  const added = new Map<string, () => Promise<void>>()
  const app = {
    register: async (_routes: unknown, { prefix }: { prefix?: string }) => { prefixes.push(prefix) },
    addHook: (name: string, hook: () => Promise<void>) => { added.set(name, hook) },
    addresses: () => addresses,
    log: { warn: (line: string) => { warnings.push(line) } },
    ...(hooks === undefined ? undefined : { [Symbol('fastify.hooks')]: hooks })
  }
  const find = () => ({ engine: undefined, app: undefined, clock: new ManualClock() })
  await mountConsole(app as unknown as FastifyInstance, resolveConsole(options), options.prefix, find)
  return { prefixes, warnings, added }
}

t.test('only a console without auth warns of other machines, unless all addresses are loopback ones', async t => {
  const at = (...addresses: string[]) => addresses.map(address => ({ address, family: 'IPv4', port: 1 }))
  for (const [addresses, warns] of [
    [[], false],
    [at('127.0.0.1'), false],
    [at('127.0.0.1', '::1'), false],
    [['/run/app.sock'], false],
    [at('::1', '10.0.0.1'), true],
    [at('0.0.0.0'), true],
    [at('::'), true],
    [at('::1f'), true],
    [at('fe80::1'), true],
    [at('1.127.0.0'), true],
    [at('12.7.0.0'), true]
  ] as const) {
    const { warnings, added } = await mounted({}, { addresses: [...addresses] })
    await added.get('onListen')!()
    t.equal(warnings.length, warns ? 1 : 0, JSON.stringify(addresses))
  }
  const { added } = await mounted({ auth: () => true })
  t.strictSame([...added.keys()], ['onReady', 'preClose'])
  await added.get('preClose')!()
})

t.test('auth is inherited from any hook before the handler, and from what cannot be examined', async t => {
  const hooks = { onRequest: [], preParsing: [], preValidation: [], preHandler: [], onSend: [() => {}] }
  for (const name of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    await t.resolves(mounted({ auth: 'inherited' }, { hooks: { ...hooks, [name]: [() => {}] } }), name)
  }
  await t.resolves(mounted({ auth: 'inherited' }), 'this version of Fastify does not show its hooks')
  for (const none of [hooks, {}]) {
    await t.rejects(mounted({ auth: 'inherited' }, { hooks: none }), { code: 'FST_TASKS_INVALID_OPTION' })
    await t.resolves(mounted({ auth: () => true }, { hooks: none }))
  }
})

t.test('a prefix is that of Fastify, or /console', async t => {
  t.strictSame((await mounted({})).prefixes, ['/console'])
  t.strictSame((await mounted({ prefix: '/' })).prefixes, [undefined])
})
