import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import type { NewTask } from '../../lib/cloud-tasks/task.js'
import { Copies, type CopiedAttempt, type NewCopy, type TaskRequest } from '../../lib/copies/copies.js'
import { printOrigin } from '../../lib/copies/facts.js'
import { copyId, copySuffix } from '../../lib/copies/names.js'
import { LIFE_HEADER, ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import type { Config } from '../../lib/options/config.js'
import type { Sent, TaskContent, TaskReading } from '../../lib/transport/transport.js'

const origin = { id: 'root', postponements: 1 }
const route = { method: 'PUT', path: '/work' } as const
const url = 'http://x.example/work'
const request = { originalUrl: '/tasks/work?a=1', headers: { 'x-own': '1', host: 'x' } } as unknown as FastifyRequest

/** A store of which the test decides what reading and writing result in. */
function open (reading: TaskReading, config: object = {}, sent: Sent = { outcome: 'created', id: 'x', scheduleAt: 1 }) {
  const put: Array<[queue: string, id: string, task: TaskContent, scheduleAt: number | undefined]> = []
  const read: unknown[] = []
  const asked: Array<[route: string, request: TaskRequest]> = []
  const copies = new Copies({
    app: Fastify(),
    config: { prefix: '/tasks', embedded: false, callers: { verify: 'oidc' }, deadLetterQueue: undefined, ...config } as unknown as Config,
    store: {
      readTask: async (...args) => {
        read.push(args)
        return reading
      },
      putTask: async (...args) => {
        put.push(args as typeof put[number])
        return sent
      }
    },
    newTask: (path, made) => {
      asked.push([path, made])
      return { httpRequest: { url: `http://x.example${path}`, headers: made.headers, body: made.body } } as NewTask
    }
  })
  const copy = async (attempt: Partial<CopiedAttempt> = {}, rest: Partial<NewCopy> = {}) => await copies.copy(route, {
    sourceQueue: 'source',
    sourceId: 's',
    originalId: 'root',
    scheduledTime: new Date(7),
    delivered: true,
    mayHaveOwnRetry: false,
    request,
    ...attempt
  }, { queue: 'target', origin, scheduleAt: 9, ...rest })
  return { copies, copy, put, read, asked }
}

const stored = (headers: Record<string, string> = {}): TaskReading =>
  ({ outcome: 'read', task: { httpRequest: { url, headers }, createdAt: 5 } })

t.test('a task that can be read is copied as it is, with its origin', async t => {
  const { copy, put, read } = open(stored({ 'x-own': '2', 'content-length': '0' }))
  t.strictSame(await copy(), { outcome: 'created' })
  t.strictSame(read, [['source', 's']])
  t.strictSame(put, [[
    'target', copyId(['source', 's', ''], 'root'), { httpRequest: { url, headers: { 'x-own': '2', [ORIGIN_HEADER]: printOrigin(origin) } } }, 9
  ]])
})

t.test('a task that cannot be read is copied from the request of its attempt', async t => {
  for (const [reading, mayHaveEnded, copied] of [
    [{ outcome: 'notFound' }, false, true], [{ outcome: 'denied', problem: '' }, false, true], [{ outcome: 'gone' }, true, true],
    [{ outcome: 'gone' }, false, false]
  ] as const) {
    const { copies, copy, put, asked } = open(reading)
    copies.received(request, Buffer.from('body'))
    t.strictSame(await copy({}, { mayHaveEnded }), { outcome: copied ? 'created' : 'gone' })
    t.strictSame(asked, copied ? [['/tasks/work?a=1', { method: 'PUT', headers: { 'x-own': '1' }, body: Buffer.from('body') }]] : [])
    t.equal(put.length, copied ? 1 : 0)
    const without = open(reading)
    t.strictSame(await without.copy({ request: undefined }, { mayHaveEnded: true }), { outcome: 'gone' })
    t.strictSame(without.put, [])
  }
  const { copy, asked } = open({ outcome: 'notFound' })
  await copy({ request: { ...request, originalUrl: '/tasks/work' } as FastifyRequest })
  t.strictSame(asked[0], ['/tasks/work', { method: 'PUT', headers: { 'x-own': '1' }, body: Buffer.alloc(0) }])
})

t.test('a copy has the deadline that the headers of its attempt name, if it is one', async t => {
  for (const [seconds, ms] of [
    ['15', 15_000], ['86415', 86_415_000], ['14.9', undefined], ['86416', undefined], ['x', undefined], ['', undefined], [undefined, undefined]
  ] as const) {
    const { copy, put } = open({ outcome: 'notFound' })
    const headers = seconds === undefined ? {} : { 'fastify-cloud-tasks-deadline': seconds }
    await copy({ request: { ...request, headers } as unknown as FastifyRequest })
    t.equal(put[0]![2].dispatchDeadlineMs, ms, String(seconds))
  }
})

t.test('what the store reports is the result, and a failure to read writes nothing', async t => {
  const failure = { outcome: 'failed', problem: 'no connection', cause: undefined } as const
  for (const sent of [{ outcome: 'duplicate' }, failure, { outcome: 'closing' }] as const) {
    t.strictSame(await open(stored(), {}, sent).copy(), sent)
  }
  const unread = open(failure)
  t.strictSame([await unread.copy(), unread.put], [failure, []])
})

t.test('the id of a copy differs with the life of its task, and is the same over its attempts', async t => {
  const idOf = async (reading: TaskReading, attempt: Partial<CopiedAttempt> = {}, config: object = {}): Promise<string> => {
    const { copy, put } = open(reading, config)
    await copy(attempt)
    return put[0]![1]
  }
  const named = { ...request, headers: { [LIFE_HEADER]: 'life' } } as unknown as FastifyRequest
  const id = (life: string): string => copyId(['source', 's', life], 'root')
  const own = { mayHaveOwnRetry: true }
  t.equal(await idOf(stored({ [LIFE_HEADER]: 'life' }), own), id('life'))
  t.equal(await idOf(stored(), { ...own, request: named }), id('created 5'), 'what the service has stored counts')
  t.equal(await idOf({ outcome: 'notFound' }, { ...own, request: named }), id('life'))
  t.equal(await idOf({ outcome: 'notFound' }, own), id('due 7'))
  t.equal(await idOf(stored(), own, { embedded: true }), id(''))
  t.equal(await idOf(stored()), id(''))
  const undelivered = open(stored())
  await undelivered.copy({ delivered: false })
  await undelivered.copy({ delivered: false })
  const [first, second] = undelivered.put.map(([, id]) => id)
  t.not(first, second, 'a call that no queue has delivered is a new task each time')
  t.strictSame([undelivered.read, first!.endsWith(copySuffix('root'))], [[], true])
  t.equal(copySuffix('root'), `-copy-${'4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2'.slice(0, 24)}`)
  t.not(copyId(['ab', 'c'], 'root'), copyId(['a', 'bc'], 'root'))
  t.match(id(''), /^[0-9a-f]{32}-copy-[0-9a-f]{24}$/)
})

t.test('bodies are kept where tasks may have to be copied from their requests', async t => {
  const keeps = (config: object): boolean => open(stored(), config).copies.keepsBodies
  t.strictSame(
    [{}, { embedded: true }, { embedded: true, callers: { verify: 'none' } }, { embedded: true, deadLetterQueue: 'dead' }].map(keeps),
    [true, false, true, true]
  )
})
