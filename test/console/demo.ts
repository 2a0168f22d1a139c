/** `npx tsx test/console/demo.ts`: an app with a console and all that may stand in it. PORT sets the port, 3900 by default. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import taskConsole from '../../lib/console/plugin.js'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'

/** Text that would do something, were it inserted as HTML. */
export const HOSTILE = '<img src=x onerror="document.title=\'owned\'"><script>document.title=\'owned\'</script>"\'&\u202Eexe.\u0000'

export const tasks = defineTasks({
  'send-receipt': {
    queue: 'mail',
    payload: Type.Object({
      order: Type.String({ minLength: 1, maxLength: 20, description: 'Number of the order' }),
      email: Type.String({ format: 'email' }),
      language: Type.Union([Type.Literal('en'), Type.Literal('de'), Type.Literal('fr')], { default: 'en' }),
      total: Type.Object({
        amount: Type.Number({ minimum: 0 }),
        currency: Type.String({ pattern: '^[A-Z]{3}$', default: 'EUR' })
      }),
      lines: Type.Array(
        Type.Object({
          article: Type.String(),
          count: Type.Integer({ minimum: 1, default: 1 }),
          gift: Type.Optional(Type.Boolean({ default: false }))
        }),
        { minItems: 1, maxItems: 20 }
      ),
      sentAt: Type.Optional(Type.String({ format: 'date-time' })),
      notes: Type.Optional(Type.Record(Type.String(), Type.String()))
    })
  },
  'charge-card': {
    queue: 'payments',
    payload: Type.Object({
      customer: Type.String({ format: 'uuid' }),
      cents: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
      method: Type.Enum({ card: 'card', transfer: 'transfer' })
    })
  },
  'resize-image': {
    path: '/images/resize',
    dispatchDeadlineSeconds: 60,
    payload: Type.Object({
      url: Type.String({ format: 'uri' }),
      widths: Type.Array(Type.Integer({ minimum: 16, maximum: 4096 }), { default: [320, 640], uniqueItems: true }),
      quality: Type.Optional(Type.Number({ minimum: 0, maximum: 1, default: 0.8 }))
    })
  },
  'sync-contact': {
    payload: Type.Object({ contact: Type.String(), source: Type.Union([Type.String(), Type.Null()]) })
  },
  'import-rows': {
    queue: 'imports',
    payload: Type.Object({
      file: Type.String(),
      rows: Type.Integer({ minimum: 1, maximum: 5000, default: 400 }),
      dry: Type.Boolean({ default: true })
    })
  }
})

export interface DemoOptions {
  /** @default the server's log to stdout */
  readonly logger?: boolean | { readonly level: string, readonly stream: { write (line: string): void } }
  /** Milliseconds that `resize-image` takes. @default 4000 */
  readonly slowMs?: number
}

/** The demo's app with its console at `/console`, not listening yet. */
export async function demoApp ({ logger = true, slowMs = 4000 }: DemoOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({ logger })
  await app.register(taskConsole, { prefix: '/console', title: 'Shop' })
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    logLevel: 'info',
    queues: {
      mail: { rateLimits: { maxDispatchesPerSecond: 20 } },
      payments: { retryConfig: { maxAttempts: 4, minBackoffSeconds: 2, maxBackoffSeconds: 30 } },
      imports: { rateLimits: { maxDispatchesPerSecond: 1, maxConcurrentDispatches: 1 } }
    },
    handlers: {
      'send-receipt': async ({ order, email, lines }, task) => {
        task.log.info({ order, lines: lines.length }, 'rendering the receipt')
        await sleep(20)
        task.log.info(`sent to ${email}`)
        return { messageId: `<${order}@shop.example>` }
      },
      'charge-card': async ({ cents }, task) => {
        task.log.info({ cents, attempt: task.attempt }, 'asking the bank')
        await sleep(30)
        if (task.attempt < 3 || cents > 500_000) {
          task.log.warn('the bank did not answer in time')
          throw bankError()
        }
        task.log.info('charged')
      },
      'resize-image': async ({ widths }, task) => {
        for (const width of widths) {
          task.log.info({ width }, 'resizing')
          await sleep(slowMs / widths.length, undefined, { signal: task.signal })
        }
        return { widths }
      },
      'sync-contact': async ({ contact }, task) => {
        task.log.info(`looking for ${contact}`)
        return task.drop(`there is no contact ${contact}`)
      },
      'import-rows': async ({ file, rows, dry }, task) => {
        for (let row = 1; row <= rows; row++) {
          task.log.info({ row, file, dry }, `row ${row} of ${rows}: ${row % 7 === 0 ? HOSTILE : 'imported'}`)
        }
        if (rows === 13) throw Object.assign(new Error(`row 13 is ${HOSTILE}`), { code: HOSTILE })
        return { rows, file }
      }
    }
  })
  app.get('/', async (_request, reply) => await reply.redirect('/console/'))
  return app
}

/** One of each kind, so that there is something to see at once. */
export async function seed (app: FastifyInstance): Promise<void> {
  const { enqueue } = tasksOf(app, tasks)
  await enqueue('send-receipt', receipt(1), { id: 'order-1', headers: { 'x-trace': 'a1', authorization: 'Bearer not-to-be-seen' } })
  await enqueue('send-receipt', receipt(2), { scheduleDelaySeconds: 3600 })
  await enqueue('charge-card', { customer: '8f14e45f-ceea-4671-a7d2-1a1b2c3d4e5f', cents: 999, method: 'card' })
  await enqueue('charge-card', { customer: '8f14e45f-ceea-4671-a7d2-1a1b2c3d4e5f', cents: 900_000, method: 'transfer' })
  await enqueue('resize-image', { url: 'https://example.com/cat.png', widths: [320, 640, 1280] })
  await enqueue('sync-contact', { contact: HOSTILE, source: null })
  await enqueue('import-rows', { file: 'spring.csv', rows: 400, dry: false })
  await enqueue('import-rows', { file: HOSTILE, rows: 13, dry: true })
  await enqueue('import-rows', { file: `large ${'x'.repeat(100_000)}`, rows: 1, dry: true })
}

function receipt (order: number) {
  return {
    order: String(order),
    email: 'ada@example.com',
    language: 'en' as const,
    total: { amount: 19.9, currency: 'EUR' },
    lines: [{ article: 'Tea', count: 2 }, { article: 'Cup', count: 1, gift: true }],
    notes: { hint: HOSTILE }
  }
}

function bankError (): Error {
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
  return new Error('The card could not be charged', { cause: new Error('The bank did not answer', { cause: reset }) })
}

/** A few tasks a second until the app closes. */
function trickle (app: FastifyInstance): void {
  const { enqueue } = tasksOf(app, tasks)
  let order = 100
  const timer = setInterval(() => {
    order++
    const calls = [enqueue('send-receipt', receipt(order))]
    if (order % 5 === 0) {
      calls.push(enqueue('charge-card', { customer: '8f14e45f-ceea-4671-a7d2-1a1b2c3d4e5f', cents: order, method: 'card' }))
    }
    if (order % 8 === 0) calls.push(enqueue('sync-contact', { contact: `c-${order}`, source: 'crm' }))
    if (order % 20 === 0) calls.push(enqueue('resize-image', { url: 'https://example.com/dog.png', widths: [320, 640] }))
    Promise.all(calls).catch((err: unknown) => { app.log.error({ err }, 'the trickle has stopped') })
  }, 700)
  app.addHook('preClose', async () => { clearInterval(timer) })
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const app = await demoApp({ logger: process.env.LOG !== undefined })
  trickle(app)
  await app.listen({ port: Number(process.env.PORT ?? 3900), host: '127.0.0.1' })
  await seed(app)
  console.log(`http://127.0.0.1:${process.env.PORT ?? 3900}/console/`)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { app.close().catch(console.error) })
}
