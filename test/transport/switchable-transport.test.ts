import t from 'tap'
import { completeRetryConfig } from '../../lib/cloud-tasks/limits.js'
import { SwitchableTransport } from '../../lib/transport/switchable-transport.js'
import type { OutgoingTask, TaskContent } from '../../lib/transport/transport.js'
import { gate } from '../support/app.js'

type Calls = unknown[][]

/** A transport that records its calls, and returns its name from them. */
function recorder (name: string, calls: Calls) {
  const methods = ['open', 'opened', 'start', 'warmUp', 'checkLetterQueue', 'createTask', 'createTasks', 'deleteTask', 'readTask',
    'putTask', 'listTasks', 'findTask', 'stop', 'close']
  const record = (method: string) => (...args: unknown[]) => { calls.push([`${name}.${method}`, ...args]); return Promise.resolve(name) }
  return Object.fromEntries(methods.map(method => [method, record(method)]))
}

/** A stand-in for an embedded queue. */
function embedded (name: string, calls: Calls, opening?: Promise<void>) {
  const note = (method: string) => () => { calls.push([`${name}.engine.${method}`]) }
  const engine = {
    hold: note('hold'),
    release: note('release'),
    close: async () => { note('close')() },
    findQueue: (queue: string) => queue === 'full/q' ? { settings: { retryConfig: completeRetryConfig({ maxAttempts: 7 }) } } : undefined
  }
  return { ...recorder(name, calls), engine, opening, queueName: (id: string) => `full/${id}` }
}

/** A switchable transport over a service, with an embedded queue as substitute. */
function switchable (own: object = {}) {
  const calls: Calls = []
  const substitute = embedded('substitute', calls)
  const transport = new SwitchableTransport({ ...recorder('own', calls), ...own } as never, undefined, () => substitute as never)
  return { transport, calls, substitute }
}

const outgoing = { path: '/work' } as OutgoingTask
const content: TaskContent = {}

/** Each call of a task, with its arguments. */
function callAll (transport: SwitchableTransport) {
  return Promise.all([
    transport.createTask('q', outgoing), transport.createTasks!('q', [outgoing]), transport.deleteTask('q', 'a'),
    transport.readTask('q', 'a'), transport.putTask('q', 'a', content, 5), transport.listTasks('q', 10, 'page'),
    transport.findTask('q', ['-a'])
  ])
}

function callsOf (name: string): Calls {
  return [
    [`${name}.createTask`, 'q', outgoing], [`${name}.createTasks`, 'q', [outgoing]], [`${name}.deleteTask`, 'q', 'a'],
    [`${name}.readTask`, 'q', 'a'], [`${name}.putTask`, 'q', 'a', content, 5], [`${name}.listTasks`, 'q', 10, 'page'],
    [`${name}.findTask`, 'q', ['-a']]
  ]
}

const sorted = (calls: Calls): Calls => [...calls].sort((one, other) => String(one[0]) < String(other[0]) ? -1 : 1)

t.test('every call goes to the own transport, unless a test kit holds it, and again after that', async t => {
  const { transport, calls } = switchable()
  t.strictSame(await callAll(transport), Array(7).fill('own'))
  t.strictSame([sorted(calls.splice(0)), transport.isSubstituted], [sorted(callsOf('own')), false])

  await transport.hold(() => {})
  t.strictSame([calls.splice(0), transport.isSubstituted], [[['substitute.open'], ['substitute.engine.hold']], true])
  t.strictSame(await callAll(transport), Array(7).fill('substitute'))
  t.strictSame(sorted(calls.splice(0)), sorted(callsOf('substitute')))

  await transport.release()
  t.strictSame([calls.splice(0), transport.isSubstituted], [[['substitute.engine.close']], false])
  t.strictSame(await callAll(transport), Array(7).fill('own'))
  await transport.release()
  t.equal(calls.length, 7, 'a release without a hold closes nothing')
})

t.test('the lifecycle is that of the own transport, which is not called where it is replaced', async t => {
  const { transport, calls } = switchable()
  const names = () => calls.splice(0).map(([name]) => name)
  await transport.open()
  await transport.opened()
  transport.start()
  transport.warmUp()
  await transport.checkLetterQueue()
  t.strictSame(names(), ['own.open', 'own.opened', 'own.start', 'own.warmUp', 'own.checkLetterQueue'])
  await transport.hold(() => {})
  names()
  transport.warmUp()
  await transport.checkLetterQueue()
  t.strictSame(names(), [])
  const embeddedOnly = switchable({ checkLetterQueue: undefined, createTasks: undefined })
  await embeddedOnly.transport.checkLetterQueue()
  t.equal(embeddedOnly.transport.createTasks, undefined)
})

t.test('a close ends the hold, stops and closes both transports, and waits for both', async t => {
  const { transport, calls, substitute } = switchable()
  let stops = 0
  await transport.hold(() => { stops++ })
  calls.splice(0)
  const stopped = gate()
  Object.assign(substitute, { stop: async () => { await stopped.opened; calls.push(['substitute.stop']) } })
  const stopping = transport.stop()
  t.strictSame([stops, calls], [1, [['own.stop']]])
  stopped.open()
  await stopping
  t.strictSame(calls, [['own.stop'], ['substitute.stop']])
  await transport.close()
  t.strictSame([stops, calls.slice(2)], [2, [['own.close'], ['substitute.engine.close']]])
  t.equal(transport.isSubstituted, false)

  const free = switchable()
  await free.transport.hold(() => { stops++ })
  await free.transport.release()
  free.calls.splice(0)
  await free.transport.stop()
  await free.transport.close()
  t.strictSame([stops, free.calls], [2, [['own.stop'], ['own.close']]], 'after a release the test kit is not called')
})

t.test('an embedded queue is held in place, at once when it is open', async t => {
  for (const opening of [undefined, Promise.resolve()]) {
    const calls: Calls = []
    const local = embedded('own', calls, opening)
    const transport = new SwitchableTransport(local as never, local as never, () => t.fail() as never)
    const held = transport.hold(() => {})
    t.strictSame([held === local as never, held instanceof Promise], [opening === undefined, opening !== undefined])
    t.equal(await held, local)
    t.equal(transport.isSubstituted, false)
    await transport.release()
    t.strictSame(calls, [['own.engine.hold'], ['own.engine.release']])
  }
})

t.test('a substitute that opens late is held once it is open', async t => {
  const opened = gate()
  const calls: Calls = []
  const substitute = embedded('substitute', calls, opened.opened)
  const transport = new SwitchableTransport(recorder('own', calls) as never, undefined, () => substitute as never)
  const held = transport.hold(() => {})
  await Promise.resolve()
  t.strictSame(calls, [['substitute.open']])
  opened.open()
  t.equal(await held, substitute)
  t.strictSame(calls, [['substitute.open'], ['substitute.engine.hold']])
})

t.test('retry settings are read from the service, or from the queue that replaces it', async t => {
  const asked: unknown[] = []
  const ask = (name: string) => async (...args: unknown[]) => { asked.push([name, ...args]); return { outcome: 'denied' } }
  const { transport } = switchable({ retrySettings: { ofQueue: ask('queue'), ofTask: ask('task') } })
  const { ofQueue, ofTask } = transport.retrySettings!
  t.strictSame([await ofQueue('q'), await ofTask!('q', 'a')], Array(2).fill({ outcome: 'denied' }))
  t.strictSame(asked.splice(0), [['queue', 'q'], ['task', 'q', 'a']])
  await transport.hold(() => {})
  t.strictSame(await ofQueue('q'), { outcome: 'read', retryConfig: completeRetryConfig({ maxAttempts: 7 }) })
  t.strictSame([await ofQueue('none'), await ofTask!('q', 'a')], Array(2).fill({ outcome: 'missing' }))
  t.strictSame(asked, [])
  t.equal(switchable({ retrySettings: { ofQueue: ask('queue') } }).transport.retrySettings!.ofTask, undefined)
  t.equal(switchable().transport.retrySettings, undefined)
})
