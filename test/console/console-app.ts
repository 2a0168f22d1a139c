import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import type { Overview } from '../../lib/console/api/api.js'
import taskConsole, { type ConsoleOptions } from '../../lib/console/plugin.js'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../../lib/index.js'

export const HOSTILE = '<script>alert(1)</script>"\'&\u202e\u0000'

export const tasks = defineTasks({
  greet: {
    payload: Type.Object({
      name: Type.String(),
      times: Type.Integer({ default: 1, maximum: 3 }),
      tags: Type.Optional(Type.Record(Type.String(), Type.Integer()))
    })
  },
  fail: { queue: 'slow', payload: Type.Object({ text: Type.String() }) },
  drop: { payload: Type.Object({ reason: Type.String() }) },
  later: { queue: 'slow', payload: Type.Object({}) }
})
/** Full name of a queue of the embedded engine. */
export const queue = (id: string): string => `projects/local/locations/local/queues/${id}`

function circular (): object {
  const circle: Record<string, unknown> = {}
  circle.self = circle
  return circle
}

export interface Served {
  readonly app: FastifyInstance
  readonly enqueue: ReturnType<typeof tasksOf<typeof tasks>>['enqueue']
  readonly read: <T>(path: string) => Promise<T>
  readonly write: <T>(path: string, body: unknown, options?: InjectOptions) => Promise<T>
}

export interface Setting {
  /** A function gets the app once `before` has prepared it. */
  readonly console?: ConsoleOptions | ((app: FastifyInstance) => ConsoleOptions)
  readonly plugin?: Partial<CloudTasksOptions>
  readonly server?: FastifyServerOptions
  readonly before?: (app: FastifyInstance) => unknown
}

/** An app with the plugin and a console at `/console`, ready, and closed at the end of the test. */
export async function serve (t: Test, { console = {}, plugin = {}, server = {}, before }: Setting = {}): Promise<Served> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await before?.(app)
  app.register(taskConsole, typeof console === 'function' ? console(app) : console)
  app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { slow: { retryConfig: { minBackoffSeconds: 3600 } } },
    handlers: {
      greet ({ name, times }, task) {
        task.log.info({ name }, `hello ${name}`)
        task.request?.log.warn('by the request')
        return name === 'odd' ? { big: 1n } : name === 'circular' ? circular() : { greeted: name, times }
      },
      fail ({ text }, task) {
        task.log.child({ part: 'child' }).error(text)
        throw Object.assign(new Error(text, { cause: new TypeError('the cause') }), { code: text })
      },
      drop: ({ reason }, task) => task.drop(reason),
      later () {}
    },
    ...plugin
  } as CloudTasksOptions)
  await app.ready()
  const overview = await app.inject('/console/api/overview')
  const { token } = overview.statusCode === 200 ? overview.json<Overview>() : { token: '' }
  return {
    app,
    enqueue: tasksOf(app, tasks).enqueue,
    async read<T> (path: string) {
      const response = await app.inject(`/console/api/${path}`)
      return response.json<T>()
    },
    async write<T> (path: string, body: unknown, options: InjectOptions = {}) {
      const { headers, ...rest } = options
      const response = await app.inject({
        method: 'POST',
        url: `/console/api/${path}`,
        payload: body as object,
        headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': token, ...headers },
        ...rest
      })
      return response.json<T>()
    }
  }
}
