import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import taskConsole, { type ConsoleOptions } from '../../../lib/console/plugin.js'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../../../lib/index.js'

/** What would show that it was taken for HTML, or that it turned the text around it. */
export const HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>"\'&\u202egnp.exe\u202c\u001b[31m'

export const tasks = defineTasks({
  greet: {
    payload: Type.Object({
      name: Type.String({ minLength: 1 }),
      times: Type.Integer({ minimum: 1, maximum: 3, default: 1 })
    })
  },
  flaky: { queue: 'slow', payload: Type.Object({ order: Type.String() }) },
  hostile: { queue: 'slow', payload: Type.Object({ text: Type.String() }) },
  form: {
    payload: Type.Object(
      {
        text: Type.String({ title: HOSTILE, description: HOSTILE }),
        plan: Type.Union([Type.Literal('basic'), Type.Literal('pro')], { default: 'basic' }),
        version: Type.Literal(2),
        urgent: Type.Boolean({ default: false }),
        nested: Type.Object({ amount: Type.Number({ minimum: 0 }) }),
        list: Type.Array(Type.Object({ article: Type.String(), count: Type.Optional(Type.Integer()) })),
        target: Type.Union([
          Type.Object({ kind: Type.Literal('mail'), address: Type.String() }),
          Type.Object({ kind: Type.Literal('sms'), number: Type.String() })
        ]),
        note: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        labels: Type.Optional(Type.Record(Type.String(), Type.Integer())),
        pair: Type.Optional(Type.Tuple([Type.String(), Type.Integer()])),
        other: Type.Optional(Type.Unknown()),
        at: Type.Optional(Type.String({ format: 'date-time' }))
      },
      { additionalProperties: false }
    )
  }
})

export interface BrowserApp {
  readonly app: FastifyInstance
  readonly enqueue: ReturnType<typeof tasksOf<typeof tasks>>['enqueue']
  /** Address of the page. */
  readonly page: string
  /** From now on `flaky` succeeds. */
  heal (): void
}

export interface BrowserAppOptions {
  /** @default a free one */
  readonly port?: number
  /** Called before the console is registered. Returns more options of it. */
  readonly prepare?: (app: FastifyInstance) => Promise<ConsoleOptions | void>
  readonly console?: ConsoleOptions
  readonly plugin?: Partial<CloudTasksOptions>
}

/** An app whose tasks fail, log and return what the tests look for. It listens. */
export async function browserApp ({
  port = 0,
  prepare = async () => {},
  console = {},
  plugin = {}
}: BrowserAppOptions = {}): Promise<BrowserApp> {
  let healed = false
  const app = Fastify({ logger: { level: 'info', stream: { write () {} } } })
  const options = (await prepare(app)) ?? {}
  await app.register(taskConsole, { prefix: '/deep/console', title: `Shop ${HOSTILE}`, ...console, ...options })
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { slow: { retryConfig: { maxAttempts: 5, minBackoffSeconds: 600 } } },
    handlers: {
      async greet ({ name, times }, task) {
        task.log.info({ times }, `greeting ${name}`)
        if (name === 'away') task.retryAfter(3600, 'the guest is out')
        if (name === 'nobody') throw new Error('there is nobody to greet', { cause: new RangeError('the guest list is empty') })
        return { greeted: name.repeat(times) }
      },
      async flaky ({ order }, task) {
        task.log.warn(`asking about order ${order}`)
        if (!healed) throw Object.assign(new Error(`order ${order} is not ready`), { code: 'E_NOT_READY' })
      },
      async hostile ({ text }, task) {
        task.log.error({ text }, text)
        throw Object.assign(new Error(text, { cause: new Error(text) }), { name: text, code: text })
      },
      form: async payload => ({ got: payload })
    },
    ...plugin
  } as CloudTasksOptions<typeof tasks>)
  const address = await app.listen({ host: '127.0.0.1', port })
  return {
    app,
    enqueue: tasksOf(app, tasks).enqueue,
    page: `${address}/deep/console/`,
    heal () {
      healed = true
    }
  }
}
