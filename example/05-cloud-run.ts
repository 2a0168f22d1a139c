/**
 * A service for Cloud Run: enqueues to Google Cloud Tasks, and accepts calls of the service account of its tasks only.
 * Deployed as docs/cloud-run.md describes, it gets its settings from the environment. Started anywhere else, it pretends to
 * be there, boots, shows what it mounts and whom it refuses, and ends; nothing is sent to Google Cloud then.
 */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type TaskHandlers } from 'fastify-cloud-tasks'

const deployed = process.env.K_SERVICE !== undefined
if (!deployed) {
  Object.assign(process.env, {
    K_SERVICE: 'orders',
    GOOGLE_CLOUD_PROJECT: 'demo',
    CLOUD_TASKS_LOCATION: 'europe-west1',
    CLOUD_TASKS_TARGET_URL: 'https://orders-abc123-ew.a.run.app',
    CLOUD_TASKS_SERVICE_ACCOUNT: 'tasks@demo.iam.gserviceaccount.com',
    METADATA_SERVER_DETECTION: 'none' // Google's library would look for a machine of Google's.
  })
}

const tasks = defineTasks({
  'send-receipt': { payload: Type.Object({ order: Type.String(), email: Type.String({ format: 'email' }) }), dispatchDeadlineSeconds: 60 }
})
const handlers: TaskHandlers<typeof tasks> = {
  async 'send-receipt' ({ order, email }, task) { task.log.info({ order }, `receipt for ${email}`) }
}

const app = Fastify({ logger: deployed })
await app.register(cloudTasks, { tasks, handlers })
const { enqueue, list } = tasksOf(app, tasks)

app.post('/orders/:order', { schema: { params: Type.Object({ order: Type.String() }) } }, async (request, reply) => {
  const { order } = request.params as { order: string }
  // The id keeps a client that repeats its request from getting two receipts.
  await enqueue('send-receipt', { order, email: 'ada@example.com' }, { id: order })
  return reply.code(202).send({ accepted: order })
})

if (deployed) {
  process.once('SIGTERM', async () => { await app.close() })
  await app.listen({ host: '0.0.0.0', port: Number(process.env.PORT ?? 8080) })
} else {
  await app.ready()
  for (const { method, path } of list()) {
    console.log(`mounts ${method} ${path}`)
    const call = async (headers: Record<string, string>) =>
      (await app.inject({ method: 'POST', url: path, headers, payload: { order: '1', email: 'a@example.com' } })).statusCode
    const answers = {
      'a call without a token': await call({}),
      "Cloud Tasks' headers alone": await call({ 'x-cloudtasks-queuename': 'default', 'x-cloudtasks-taskname': '1' }),
      'a token that is no token': await call({ authorization: 'Bearer let.me.in' })
    }
    for (const [what, status] of Object.entries(answers)) console.log(`  ${what}: ${status}`)
    if (!Object.values(answers).every(status => status === 401)) process.exitCode = 1
  }
  await app.close()
}
