import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, errors, type CloudTasksOptions } from '../lib/index.js'
import { createServerError, explain } from '../lib/server-error.js'
import { StoreError } from '../lib/store/store-error.js'
import { root } from './support/compiler.js'
import { startRecordingServer } from './support/recording-server.js'

type AnyError = new (...words: string[]) => {
  readonly code: string
  readonly statusCode: number
  readonly message: string
  readonly explanation?: string
}

/** Thrown while plugins load, or in tests: there is no web client. */
const AT_REGISTRATION = [
  'INVALID_OPTION',
  'MISSING_SETTING',
  'NOT_FOR_PRODUCTION',
  'CLIENT_UNAVAILABLE',
  'INVALID_DEFINITION',
  'DUPLICATE_PATH',
  'INVALID_HANDLER',
  'ALREADY_REGISTERED',
  'PLUGIN_MISSING',
  'PAGE_MISSING',
  'ROUTE_TAKEN',
  'INVALID_SCHEMA',
  'KIT_UNAVAILABLE',
  'KIT_EXISTS',
  'KIT_DISPOSED',
  'DRAIN_UNBOUNDED'
]

t.test('the table of errors lists exactly the errors that exist, with their status', async t => {
  const page = await readFile(join(root, 'docs/errors.md'), 'utf8')
  const listed = [...page.matchAll(/^\| `(FST_TASKS_\w+)` \| (\d+) \|/gm)].map(match => `${match[1]} ${match[2]}`)
  const existing = Object.entries(errors).map(([name, FstError]) => {
    const error = new (FstError as new (...words: string[]) => { code: string, statusCode: number })('a', 'b', 'c')
    t.equal(error.code, name)
    return `${error.code} ${error.statusCode}`
  })
  t.strictSame(listed.sort(), existing.sort())
})

t.test('a server error has a neutral message, and an explanation with what it was made with', async t => {
  const Failed = createServerError<'FST_X', [name: unknown, times: number, options?: unknown]>('FST_X', 503, 'Not now', "'%s' failed %d times")
  const cause = new TypeError('the cause')
  const error = new Failed('mail', 3, { cause })
  t.strictSame(
    [error.code, error.statusCode, error.message, error.explanation, error.cause, String(error), Failed.name],
    ['FST_X', 503, 'Not now', "'mail' failed 3 times", cause, 'FastifyError [FST_X]: Not now', 'FastifyError']
  )
  t.ok(error.stack?.split('\n')[1]?.includes('errors.test'), 'the stack begins where it was made')
  for (const last of [null, undefined, { reason: 'none' }]) t.notOk('cause' in new Failed('mail', 3, last))
  t.equal(explain(error), "'mail' failed 3 times")
  t.equal(explain(cause), 'the cause')
  t.equal(explain(Object.assign(new Error('message'), { explanation: 5 })), 'message')
})

t.test('no message of an error that Fastify answers with 5xx while it serves repeats what it was made with', async t => {
  for (const FstError of Object.values(errors) as unknown as AnyError[]) {
    const { code, statusCode, message, explanation } = new FstError('WORD-1', 'WORD-2', 'WORD-3')
    if ((statusCode >= 400 && statusCode < 500) || AT_REGISTRATION.includes(code.slice('FST_TASKS_'.length))) continue
    if (code === 'FST_TASKS_CLOSING') continue // Its sentence has no words to fill in, and is neutral.
    t.notMatch(message, /WORD|gcloud|option|auth/, code)
    t.type(explanation, 'string', code)
  }
})

const tasks = defineTasks({
  'send-receipt': { payload: Type.Object({}), queue: 'secret-queue' },
  elsewhere: { payload: Type.Object({}) }
})
const SECRETS = /secret|gcloud|directory|handlers|send-receipt|elsewhere|\/tmp|us-central1/

/** What a web client and the log are shown of an error that the host does not catch. */
async function shown (t: Test, options: Partial<CloudTasksOptions>, fail: (app: FastifyInstance) => unknown) {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(cloudTasks, { tasks, ...options } as CloudTasksOptions)
  app.get('/', async () => await fail(app))
  await app.ready()
  lines.length = 0
  const { statusCode, body } = await app.inject('/')
  const errors = lines
    .map(line => JSON.parse(line) as { readonly err?: { readonly explanation?: string } })
    .flatMap(({ err }) => err ?? [])
  return { statusCode, body, answer: JSON.parse(body) as { code: string, message: string }, log: errors[0]?.explanation ?? 'no line' }
}

t.test('an error that a host does not catch', async t => {
  t.test('of Cloud Tasks shows a web client its code and a neutral sentence, and the log what to do', async t => {
    const server = await startRecordingServer()
    t.teardown(() => server.close())
    const before = process.env.CLOUD_TASKS_EMULATOR_HOST
    process.env.CLOUD_TASKS_EMULATOR_HOST = server.host
    t.teardown(() => {
      if (before === undefined) delete process.env.CLOUD_TASKS_EMULATOR_HOST
      else process.env.CLOUD_TASKS_EMULATOR_HOST = before
    })
    const cloud: Partial<CloudTasksOptions> = {
      transport: 'cloud',
      project: 'secret-project',
      location: 'us-central1',
      target: { type: 'http', url: 'https://secret.example' }
    }
    for (const [reply, code, status, message, words] of [
      [
        { code: 'PERMISSION_DENIED', details: 'lacks IAM permission "cloudtasks.tasks.create"' },
        'FST_TASKS_SEND_FAILED',
        503,
        'The queue did not accept the call',
        ['secret-queue', 'secret-project', 'us-central1', 'gcloud tasks queues add-iam-policy-binding']
      ],
      [
        { code: 'NOT_FOUND', details: 'Queue does not exist.' },
        'FST_TASKS_QUEUE_NOT_FOUND',
        500,
        'The queue of the task does not exist',
        ['secret-queue', 'secret-project', server.host]
      ]
    ] as const) {
      server.reply = () => reply
      const { statusCode, body, answer, log } = await shown(t, cloud, async app => await app.enqueue('send-receipt', {}))
      t.equal(statusCode, status)
      t.equal(answer.code, code)
      t.equal(answer.message, message)
      t.notMatch(body, SECRETS)
      for (const word of words) t.ok(log.includes(word), `${word} in: ${log}`)
    }
    const { body, answer, log } = await shown(t, cloud, app => app.tasks.counts())
    t.equal(answer.code, 'FST_TASKS_LOCAL_ONLY')
    t.notMatch(body, SECRETS)
    t.match(log, 'gcloud tasks list')
  })

  t.test('of the embedded queue shows neither queues nor the directory', async t => {
    const directory = await mkdtemp(join(tmpdir(), 'secret-'))
    t.teardown(() => rm(directory, { recursive: true }))
    const { LmdbStore } = await import('../lib/store/lmdb/lmdb-store.js')
    t.intercept(LmdbStore.prototype, 'putTask', {
      value: async () => {
        throw new StoreError('full', `${directory}: no space is left on the disk`)
      }
    })
    const local: Partial<CloudTasksOptions> = { transport: 'local', local: { directory } }
    const full = await shown(t, local, async app => await app.enqueue('send-receipt', {}))
    t.equal(full.answer.code, 'FST_TASKS_SEND_FAILED')
    t.notMatch(full.body, SECRETS)
    t.ok(full.log.includes(directory), full.log)
  })

  t.test('of a queue that is missing, a handler that is missing, or a drop', async t => {
    const local: Partial<CloudTasksOptions> = {
      transport: 'local',
      handlers: { 'send-receipt': (_payload: unknown, task: { drop: (reason: string) => never }) => task.drop('secret reason') } as never
    }
    for (const [fail, code, message, words] of [
      [
        (app: FastifyInstance) => app.enqueue('send-receipt', {}, { queue: 'secret-one' }),
        'FST_TASKS_QUEUE_NOT_FOUND',
        'The queue of the task does not exist',
        "'secret-one'"
      ],
      [
        (app: FastifyInstance) => app.tasks.pending('secret-one'),
        'FST_TASKS_QUEUE_NOT_FOUND',
        'The queue of the task does not exist',
        "'secret-one'"
      ],
      [
        (app: FastifyInstance) => app.tasks.run('elsewhere', {}),
        'FST_TASKS_NO_HANDLER',
        'The task cannot run here',
        "'elsewhere' has no handler"
      ],
      [(app: FastifyInstance) => app.tasks.run('send-receipt', {}), 'FST_TASKS_DROPPED', 'The task was dropped', 'secret reason']
    ] as const) {
      const { statusCode, body, answer, log } = await shown(t, local, fail)
      t.equal(statusCode, 500)
      t.equal(answer.code, code)
      t.equal(answer.message, message)
      t.notMatch(body, SECRETS)
      t.ok(log.includes(words), log)
    }
  })
})
