/**
 * The main job on the embedded queue: a server takes orders, answers at once, and the work happens behind it.
 * Run it with `npm run example`. It exits 1 if anything that it shows did not happen.
 */
import { subscribe } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, type AttemptEvent, type TaskHandlers } from 'fastify-cloud-tasks'

const tasks = defineTasks({
  'send-receipt': { payload: Type.Object({ order: Type.String(), email: Type.String({ format: 'email' }) }), queue: 'mail' },
  'make-thumbnail': { payload: Type.Object({ photo: Type.String() }), queue: 'media' },
  'sync-customer': { payload: Type.Object({ customer: Type.Integer() }) },
  'call-webhook': { payload: Type.Object({ url: Type.String({ format: 'uri' }) }) },
  'export-orders': { payload: Type.Object({ month: Type.String() }) },
  'charge-card': { payload: Type.Object({ order: Type.String() }), queue: 'payments' }
})

declare module 'fastify-cloud-tasks' {
  interface Register { tasks: typeof tasks }
}

const handlers: TaskHandlers<typeof tasks> = {
  'send-receipt': async ({ order, email }) => { note(`      receipt of order ${order} sent to ${email}`) },
  'make-thumbnail': async ({ photo }, task) => {
    if (task.attempt < 3) throw new Error('the image service is down')
    note(`      thumbnail of ${photo} made`)
  },
  'sync-customer': async ({ customer }) => { note(`      customer ${customer} synced`) },
  'call-webhook': async ({ url }, task) => task.drop(`${url} is gone`),
  'export-orders': async ({ month }, task) => {
    if (task.postponements === 0) {
      exportDueAt = elapsed() + 1
      task.retryAfter(1, 'the warehouse answered 429')
    }
    note(`      orders of ${month} exported`)
  },
  'charge-card': async ({ order }) => {
    if (!bankAnswers) throw Object.assign(new Error('the bank does not answer'), { code: 'E_BANK_DOWN' })
    note(`      order ${order} charged`)
  }
}

let bankAnswers = false
let exportDueAt = Infinity

const app = Fastify()
await app.register(cloudTasks, {
  tasks,
  handlers,
  transport: 'local',
  deadLetterQueue: 'dead-letters',
  queues: {
    media: { retryConfig: { maxAttempts: 5, minBackoffSeconds: 0.3 } },
    payments: { retryConfig: { maxAttempts: 2, minBackoffSeconds: 0.1 } }
  }
})

app.post<{ Body: { order: string } }>('/orders', async (request, reply) => {
  const { order } = request.body
  const { duplicate } = await app.enqueue('send-receipt', { order, email: 'ada@example.com' }, { id: order })
  return reply.code(202).send({ queued: !duplicate, duplicate })
})
app.post<{ Body: { photo: string } }>('/photos', async (request, reply) => {
  await app.enqueue('make-thumbnail', request.body)
  return reply.code(202).send({ queued: true })
})
app.post<{ Body: { customer: number } }>('/customers', async (request, reply) => {
  const { scheduleTime } = await app.enqueue('sync-customer', request.body, { scheduleDelaySeconds: 1.5 })
  return reply.code(202).send({ queued: true, dueInMs: scheduleTime.getTime() - Date.now() })
})
app.post<{ Body: { month: string } }>('/exports', async (request, reply) => {
  await app.enqueue('export-orders', request.body)
  return reply.code(202).send({ queued: true })
})
app.post<{ Body: { order: string } }>('/payments', async (request, reply) => {
  await app.enqueue('charge-card', request.body, { id: request.body.order })
  return reply.code(202).send({ queued: true })
})
app.post<{ Body: { url: string } }>('/subscriptions', async (request, reply) => {
  await app.enqueue('call-webhook', request.body)
  return reply.code(202).send({ queued: true })
})

const startedAt = performance.now()
const attempts: Array<AttemptEvent & { at: number }> = []
subscribe('tracing:fastify-cloud-tasks:attempt:asyncEnd', message => {
  const event = message as AttemptEvent
  attempts.push({ ...event, at: elapsed() })
  const why = event.error instanceof Error ? ` (${event.error.message})` : ''
  note(`  <-  ${event.task}, attempt ${event.attempt}: ${event.result}${why}`)
})

const base = await app.listen({ host: '127.0.0.1', port: 0 })
note(`server listening on ${base}`)
await fetch(base) // the first request of a process pays for loading its client
note('')
const answers = [
  await post('/orders', { order: '42' }),
  await post('/orders', { order: '42' }),
  await post('/photos', { photo: 'cat.jpg' }),
  await post('/customers', { customer: 7 }),
  await post('/subscriptions', { url: 'https://gone.example.com/hook' }),
  await post('/exports', { month: '2026-11' }),
  await post('/payments', { order: '42' })
]
await until(() => attempts.some(attempt => attempt.exhausted), 4000)
const { letters } = await app.tasks.deadLetters.list()
for (const { task, attempts, error } of letters) note(`dead letter: ${task} failed ${attempts} times: ${error?.message}`)
bankAnswers = true
const replays = await app.tasks.deadLetters.replay({ task: 'charge-card', code: 'E_BANK_DOWN' })
note(`replay: ${replays.map(({ outcome }) => outcome).join(', ')}`)
await until(() => attempts.filter(attempt => attempt.result === 'done' || attempt.result === 'dropped').length >= 6, 8000)
const { letters: left } = await app.tasks.deadLetters.list()
await app.close()

note('')
console.table(attempts.map(({ at, task, queue, attempt, result, status }) => ({ 'at (s)': at, task, queue, attempt, result, status })))
verify()

async function post (path: string, body: object): Promise<{ status: number, ms: number, body: Record<string, unknown> }> {
  const before = performance.now()
  const response = await fetch(base + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  const answer = {
    status: response.status,
    ms: Math.round((performance.now() - before) * 10) / 10,
    body: (await response.json()) as Record<string, unknown>
  }
  note(`POST ${path} ${JSON.stringify(body)} -> ${answer.status} in ${answer.ms} ms ${JSON.stringify(answer.body)}`)
  return answer
}

function verify (): void {
  const ran = (task: string) => attempts.filter(attempt => attempt.task === task)
  const results = (task: string) => ran(task).map(attempt => attempt.result).join(', ')
  const exported = ran('export-orders')[1]?.at ?? 0
  const claims: Array<[claim: string, holds: boolean]> = [
    ['every request was answered 202', answers.every(answer => answer.status === 202)],
    ['one id enqueued twice ran once', answers[1]?.body.duplicate === true && results('send-receipt') === 'done'],
    ['the failing task was retried until it succeeded', results('make-thumbnail') === 'retry, retry, done'],
    ['each retry waited for its backoff', (ran('make-thumbnail')[2]?.at ?? 0) - (ran('make-thumbnail')[0]?.at ?? 0) >= 0.85],
    ['the scheduled task ran when it was due', results('sync-customer') === 'done' && (ran('sync-customer')[0]?.at ?? 0) >= 1.5],
    ['the dropped task was not retried', results('call-webhook') === 'dropped'],
    ['the postponed task ran again when it was due', results('export-orders') === 'postponed, done' && exported >= exportDueAt - 0.01],
    ['the task that failed for good was kept as a dead letter', letters.length === 1 && letters[0]?.error?.code === 'E_BANK_DOWN'],
    ['replayed, it was done and its letter deleted', results('charge-card') === 'retry, retry, done' && left.length === 0]
  ]
  for (const [claim, holds] of claims) {
    note(`${holds ? 'yes' : 'NO '}  ${claim}`)
    if (!holds) process.exitCode = 1
  }
}

async function until (condition: () => boolean, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!condition() && performance.now() < deadline) await new Promise(resolve => setTimeout(resolve, 20))
}

function elapsed (): number {
  return Math.round(performance.now() - startedAt) / 1000
}

function note (line: string): void {
  console.log(line === '' ? '' : `${elapsed().toFixed(2).padStart(5)} s  ${line}`)
}
