/** A server to play with, and its console: `npm run example:server`, then paste the lines that it prints into another terminal. */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type TaskHandlers } from 'fastify-cloud-tasks'
import taskConsole from 'fastify-cloud-tasks/console'

const tasks = defineTasks({
  greet: { payload: Type.Object({ name: Type.String({ minLength: 1 }) }) },
  flaky: { payload: Type.Object({ failures: Type.Integer({ minimum: 0, maximum: 9 }) }) }
})

const handlers: TaskHandlers<typeof tasks> = {
  async greet ({ name }, task) { task.log.info(`hello ${name}`) },
  async flaky ({ failures }, task) {
    if (task.attempt <= failures) throw new Error(`failure ${task.attempt} of ${failures}`)
    task.log.info('worked at last')
  }
}

const app = Fastify({ logger: true })
await app.register(cloudTasks, { tasks, handlers, transport: 'local', queues: { default: { retryConfig: { minBackoffSeconds: 1 } } } })
await app.register(taskConsole)
const client = tasksOf(app, tasks)

app.post<{ Params: { task: 'greet' | 'flaky' }, Querystring: { delay?: string, id?: string } }>(
  '/enqueue/:task',
  async (request, reply) => {
    const { delay, id } = request.query
    const options = { ...(delay === undefined ? {} : { scheduleDelaySeconds: Number(delay) }), ...(id === undefined ? {} : { id }) }
    return reply.code(202).send(await client.enqueue(request.params.task as 'greet', request.body as { name: string }, options))
  }
)
app.get('/tasks', async () => client.list())

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, async () => { await app.close() })

const base = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
const json = "-H 'content-type: application/json'"
console.log(`
Try, in another terminal:
  curl -X POST ${base}/enqueue/greet ${json} -d '{"name":"Ada"}'
  curl -X POST '${base}/enqueue/greet?delay=5' ${json} -d '{"name":"in five seconds"}'
  curl -X POST '${base}/enqueue/greet?id=once' ${json} -d '{"name":"once only"}'     # twice: the second is a duplicate
  curl -X POST ${base}/enqueue/flaky ${json} -d '{"failures":3}'                     # watch the backoff
  curl -X POST ${base}/enqueue/greet ${json} -d '{"nmae":"Ada"}'                     # refused: the payload does not fit
  curl -X POST ${base}/tasks/greet ${json} -d '{"name":"Mallory"}'                   # refused: only the queue may call
  curl ${base}/tasks
The console is at ${base}/console. Ctrl-C ends it.
`)
