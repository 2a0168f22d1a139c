import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import { CloudTasksClient, v2beta3 } from '@google-cloud/tasks'
import { credentials } from '@grpc/grpc-js'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { RETRY_BY_QUEUE, RETRY_HEADER } from '../../lib/delivery/headers.js'
import { createEmulator, type Emulator } from '../../lib/emulator/index.js'
import cloudTasks, { defineTasks, type AttemptEvent, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import type { RetryConfig } from '../../lib/cloud-tasks/task.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { watchAttempts, type LogLine } from '../support/app.js'
import { startRecordingServer } from '../support/recording-server.js'

const tasks = defineTasks({ work: { payload: Type.Object({}), queue: 'q' }, elsewhere: { payload: Type.Object({}), queue: 'other' } })
const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const AUDIENCE = 'http://worker.example'
const QUEUE = 'projects/demo/locations/us-central1/queues/q'

interface Worker {
  readonly app: FastifyInstance
  readonly emulator: Emulator
  /** The worker's. It stands still: a busy machine may take longer for a reading than an attempt waits for it. */
  readonly clock: ManualClock
  readonly log: LogLine[]
  /** What the handler was given at each attempt: attempt, maxAttempts, isLastAttempt. */
  readonly seen: Array<[number, number | undefined, boolean]>
  /** Attempts for which onExhausted ran. */
  readonly exhausted: number[]
  /** Enqueues a task as another client would, and resolves with all its attempts once the emulator has no task left. */
  run (retryConfig?: Partial<RetryConfig>, headers?: Record<string, string>): Promise<AttemptEvent[]>
}

/** A worker of which every attempt fails, and the emulator with its queue. */
async function startWorker (t: Test, retryConfig: Partial<RetryConfig>, options: Partial<CloudTasksOptions> = {}): Promise<Worker> {
  const emulator = createEmulator({ port: 0 })
  t.teardown(() => emulator.close())
  await emulator.listen()
  await emulator.engine.createQueue(QUEUE, { retryConfig: { minBackoffSeconds: 0.001, maxBackoffSeconds: 0.01, ...retryConfig } })
  process.env.CLOUD_TASKS_EMULATOR_HOST = emulator.address
  t.teardown(() => { delete process.env.CLOUD_TASKS_EMULATOR_HOST })

  const log: LogLine[] = []
  const seen: Worker['seen'] = []
  const exhausted: number[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => { log.push(JSON.parse(line)) } } } })
  t.teardown(() => app.close())
  await app.register(cloudTasks, {
    tasks,
    transport: 'cloud',
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url: AUDIENCE },
    auth: { issuer: emulator.url, jwksUri: `${emulator.url}/jwks`, serviceAccountEmail: ACCOUNT },
    handlers: {
      work (_: unknown, task: TaskContext) {
        seen.push([task.attempt, task.maxAttempts, task.isLastAttempt])
        throw new Error(`failure ${task.attempt}`)
      }
    },
    onExhausted: (_: unknown, error: unknown, task: TaskContext) => { exhausted.push(task.attempt) },
    ...options
  } as CloudTasksOptions)
  const clock = new ManualClock(Date.now())
  handleOf(app)!.clock.switchTo(clock)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const attempts = watchAttempts(t)
  return {
    app,
    emulator,
    clock,
    log,
    seen,
    exhausted,
    async run (ownRetry, headers = { [RETRY_HEADER]: RETRY_BY_QUEUE }) {
      await emulator.engine.createTask(QUEUE, {
        httpRequest: {
          url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/tasks/work`,
          headers: { 'content-type': 'application/json', ...headers },
          body: Buffer.from('{}'),
          oidcToken: { serviceAccountEmail: ACCOUNT, audience: AUDIENCE }
        },
        ...(ownRetry === undefined ? {} : { retryConfig: { minBackoffSeconds: 0.001, ...ownRetry } })
      })
      for (let i = 0; i < 2000; i++) {
        const { waiting, running } = emulator.engine.counts(QUEUE)
        if (waiting + running === 0) return attempts.ends
        await new Promise(resolve => { setTimeout(resolve, 5) })
      }
      throw new Error('the emulator still has the task')
    }
  }
}

const RETRIED = 'attempt failed, it will be retried'
const PERHAPS_RETRIED = 'attempt failed, it will be retried unless the queue allows no more attempts'
const ENDS = 'last attempt failed, it will not be retried'
const messages = (log: LogLine[]) => log.map(line => line.msg).filter(message => message.includes('attempt failed'))
const differs = (log: LogLine[]) => log.filter(line => line.msg.startsWith("the queue in Cloud Tasks has another 'retryConfig'")).length

t.test('with the transport cloud, the queue in Cloud Tasks decides which attempt is the last', async t => {
  t.test('though the options allow fewer', async t => {
    const worker = await startWorker(t, { maxAttempts: 4 }, { queues: { q: { retryConfig: { maxAttempts: 2 } } } })
    const ends = await worker.run()
    t.strictSame(worker.seen, [[1, 4, false], [2, 4, false], [3, 4, false], [4, 4, true]])
    t.strictSame(worker.exhausted, [4])
    t.strictSame(ends.map(end => end.exhausted), [false, false, false, true])
    t.strictSame(messages(worker.log), [RETRIED, RETRIED, RETRIED, ENDS])
    t.equal(differs(worker.log), 1)
  })

  t.test('though the options allow more', async t => {
    const worker = await startWorker(t, { maxAttempts: 2 }, { queues: { q: { retryConfig: { maxAttempts: 50 } } } })
    await worker.run()
    t.strictSame(worker.seen, [[1, 2, false], [2, 2, true]])
    t.strictSame(worker.exhausted, [2])
    t.strictSame(messages(worker.log), [RETRIED, ENDS])
    t.equal(differs(worker.log), 1)
  })

  t.test('though the options name only other settings of it', async t => {
    const worker = await startWorker(t, { maxAttempts: 2 }, { queues: { q: { rateLimits: { maxDispatchesPerSecond: 5 } } } })
    await worker.run()
    t.strictSame(worker.seen, [[1, 2, false], [2, 2, true]])
    t.strictSame(worker.exhausted, [2])
    t.equal(differs(worker.log), 0)
  })

  t.test('though the options do not name it', async t => {
    const worker = await startWorker(t, { maxAttempts: 1 })
    await worker.run()
    t.strictSame(worker.seen, [[1, 1, true]])
    t.strictSame(worker.exhausted, [1])
  })

  t.test('where the payload fits no schema, too', async t => {
    const worker = await startWorker(t, { maxAttempts: 2 }, {
      tasks: defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }), queue: 'q' } })
    } as never)
    const ends = await worker.run()
    t.strictSame(ends.map(end => [end.status, end.exhausted]), [[400, false], [400, true]])
    t.strictSame(worker.exhausted, [2])
  })
})

t.test("a task's own retryConfig, which only another client can have set, replaces its queue's", async t => {
  for (const [own, inQueue] of [[2, 5], [4, 2]] as const) {
    t.test(`${own} instead of ${inQueue}`, async t => {
      const worker = await startWorker(t, { maxAttempts: inQueue })
      await worker.run({ maxAttempts: own }, {})
      t.strictSame(worker.seen.slice(1), Array.from({ length: own - 1 }, (_, index) => [index + 2, own, index + 2 === own]))
      t.strictSame(worker.exhausted, [own])
    })
  }
})

t.test('where the worker may not read the queue', async t => {
  const startDenied = async (t: Test, retryConfig: Partial<RetryConfig>, queues: CloudTasksOptions['queues']) => {
    const server = await startRecordingServer()
    t.teardown(() => server.close())
    server.reply = () => ({
      code: 'PERMISSION_DENIED',
      details: 'The principal (user or service account) lacks IAM permission "cloudtasks.queues.get" for the resource "queues/q".'
    })
    const client = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port: server.port, sslCreds: credentials.createInsecure() })
    t.teardown(() => client.close())
    return await startWorker(t, retryConfig, { client, ...(queues === undefined ? {} : { queues }) })
  }
  const beyond = (log: LogLine[]) =>
    log.filter(line => line.msg.startsWith("an attempt beyond the 'maxAttempts' of the option 'queues' arrived"))

  t.test('the options count for what they name, and one line names the role that it lacks', async t => {
    const worker = await startDenied(t, { maxAttempts: 3 }, { q: { retryConfig: { maxAttempts: 3 } } })
    await worker.run()
    t.strictSame(worker.seen, [[1, 3, false], [2, 3, false], [3, 3, true]])
    t.strictSame(worker.exhausted, [3])
    t.strictSame(messages(worker.log), [
      PERHAPS_RETRIED,
      PERHAPS_RETRIED,
      "last attempt failed according to the option 'queues'; the queue's settings could not be read"
    ])
    const unread = () => worker.log.filter(line => line.msg.startsWith('the retry settings of a queue could not be read'))
    t.equal(unread().length, 1)
    t.equal(unread()[0]?.msg.includes('roles/cloudtasks.viewer'), true)
  })

  t.test('and the options are too low, onExhausted runs once, and one line says what is wrong', async t => {
    const worker = await startDenied(t, { maxAttempts: 5 }, { q: { retryConfig: { maxAttempts: 2 } } })
    const ends = await worker.run()
    t.strictSame(worker.seen, [[1, 2, false], [2, 2, true], [3, undefined, false], [4, undefined, false], [5, undefined, false]])
    t.strictSame(worker.exhausted, [2])
    t.strictSame(ends.map(end => end.exhausted), [false, true, false, false, false])
    t.equal(worker.log.filter(line => line.msg === ENDS).length, 0)
    t.strictSame(
      beyond(worker.log).map(({ level, queue, attempt, maxAttempts }) => ({ level, queue, attempt, maxAttempts })),
      [{ level: 40, queue: 'q', attempt: 3, maxAttempts: 2 }]
    )
    await worker.run()
    t.strictSame(worker.exhausted, [2], 'the options count no more')
    t.equal(beyond(worker.log).length, 1)
  })

  t.test('and the options do not name maxAttempts, no attempt is known to be the last', async t => {
    const worker = await startDenied(t, { maxAttempts: 2 }, { q: { rateLimits: { maxDispatchesPerSecond: 5 } } })
    await worker.run()
    t.strictSame(worker.seen, [[1, undefined, false], [2, undefined, false]])
    t.strictSame(worker.exhausted, [])
    t.strictSame(messages(worker.log), [PERHAPS_RETRIED, PERHAPS_RETRIED])
  })
})

t.test('where the queue is not in the location of the options, those count', async t => {
  const worker = await startWorker(t, { maxAttempts: 2 }, { location: 'europe-west1', queues: { q: { retryConfig: { maxAttempts: 2 } } } })
  await worker.run()
  t.strictSame(worker.seen, [[1, 2, false], [2, 2, true]])
  t.strictSame(worker.exhausted, [2])
  t.equal(worker.log.filter(line => line.msg.startsWith("a queue of an attempt is not in 'project' and 'location'")).length, 1)
})

t.test('a queue that is changed while a task is retried', async t => {
  /** A worker whose first attempt changes the queue; then `ms` pass by the clock of the worker. */
  const startChanging = async (t: Test, [before, after]: [number, number], ms: number): Promise<Worker> => {
    const seen: Worker['seen'] = []
    const worker: Worker = await startWorker(t, { maxAttempts: before }, {
      handlers: {
        async work (_: unknown, task: TaskContext) {
          seen.push([task.attempt, task.maxAttempts, task.isLastAttempt])
          if (task.attempt === 1) {
            await worker.emulator.engine.updateQueue(QUEUE, settings => ({
              ...settings,
              retryConfig: { ...settings?.retryConfig, maxAttempts: after }
            }))
            await worker.clock.advance(ms)
          }
          throw new Error(`failure ${task.attempt}`)
        }
      }
    } as never)
    return { ...worker, seen }
  }

  t.test('to fewer attempts ends the task with the one that is the last by then', async t => {
    const worker = await startChanging(t, [100, 2], 11_000)
    await worker.run()
    t.strictSame(worker.seen, [[1, 100, false], [2, 2, true]])
    t.strictSame(worker.exhausted, [2])
    t.strictSame(messages(worker.log), [RETRIED, ENDS])
  })

  t.test('to more attempts goes on to the last of them', async t => {
    const worker = await startChanging(t, [1, 3], 11_000)
    await worker.run()
    t.strictSame(worker.seen, [[1, 1, true], [2, 3, false], [3, 3, true]])
    t.strictSame(worker.exhausted, [3])
    t.strictSame(messages(worker.log), [RETRIED, RETRIED, ENDS])
  })

  t.test('and was read too recently to be read again never makes onExhausted run twice', async t => {
    const worker = await startChanging(t, [1, 3], 0)
    const ends = await worker.run()
    t.strictSame(ends.map(end => [end.attempt, end.exhausted]), [[1, true], [2, false], [3, false]])
    t.strictSame(worker.exhausted, [1])
  })
})

t.test('Cloud Tasks is called no more than it takes', async t => {
  t.test('a worker reads the queues of its handlers when it listens, and nothing without attempts', async t => {
    const calls = t.capture(CloudTasksClient.prototype, 'getQueue', CloudTasksClient.prototype.getQueue)
    const { log } = await startWorker(t, { maxAttempts: 2 })
    const names = () => calls().map(({ args }) => (args[0] as { name: string }).name)
    let called: string[] = []
    for (let i = 0; i < 1000 && called.length === 0; i++) {
      await new Promise(resolve => { setTimeout(resolve, 5) })
      called = [...called, ...names()]
    }
    await new Promise(resolve => { setTimeout(resolve, 50) })
    t.strictSame([...called, ...names()], [QUEUE])
    t.strictSame(log.filter(line => line.level >= 40), [])
  })

  t.test('tasks from app.enqueue are never read, those of other clients once, when they fail', async t => {
    const calls = t.capture(v2beta3.CloudTasksClient.prototype, 'getTask', v2beta3.CloudTasksClient.prototype.getTask)
    const worker = await startWorker(t, { maxAttempts: 3 })
    await worker.emulator.engine.pauseQueue(QUEUE)
    const { id } = await worker.app.enqueue('work', {})
    const { httpRequest } = worker.emulator.engine.getTask(`${QUEUE}/tasks/${id}`)
    await worker.app.tasks.delete('work', id)
    await worker.emulator.engine.resumeQueue(QUEUE)
    await worker.run(undefined, httpRequest?.headers)
    t.equal(calls().length, 0)
    await worker.run(undefined, {})
    t.equal(calls().length, 1)
    t.strictSame(worker.exhausted, [3, 3])
  })

  t.test('app.tasks.run reads nothing', async t => {
    const server = await startRecordingServer()
    t.teardown(() => server.close())
    process.env.CLOUD_TASKS_EMULATOR_HOST = server.host
    t.teardown(() => { delete process.env.CLOUD_TASKS_EMULATOR_HOST })
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, {
      tasks,
      transport: 'cloud',
      project: 'demo',
      location: 'us-central1',
      auth: false,
      target: { type: 'http', url: AUDIENCE },
      queues: { q: { retryConfig: { maxAttempts: 6 } } },
      handlers: { work: (_: unknown, task: TaskContext) => [task.maxAttempts, task.isLastAttempt] }
    } as CloudTasksOptions)
    await app.ready()
    t.strictSame(await app.tasks.run('work', {}), [6, false])
    t.equal(server.calls.length, 0)
  })
})
