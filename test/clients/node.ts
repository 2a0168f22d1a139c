import { CloudTasksClient, protos } from '@google-cloud/tasks'
import { credentials } from '@grpc/grpc-js'
import { deleteApp, initializeApp } from 'firebase-admin/app'
import { getFunctions } from 'firebase-admin/functions'
import { arrival, type Check, type Place } from './check.js'

/** The calls that Google's published samples for Node.js make, and firebase-admin. All methods are called by `npm test`. */
export const node: Check = async place => {
  process.env.METADATA_SERVER_DETECTION ??= 'none'
  const client = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port: place.emulator.port, sslCreds: credentials.createInsecure() })
  try {
    await samples(place, client)
  } finally {
    await client.close()
  }
  await firebase(place)
}

async function samples (place: Place, client: CloudTasksClient): Promise<void> {
  const [project, location, queue] = ['demo', 'us-central1', 'node-samples']
  const parent = client.queuePath(project, location, queue)
  const [created] = await client.createQueue({
    parent: client.locationPath(project, location),
    queue: { name: parent, appEngineRoutingOverride: { service: 'default' } }
  })
  if (created.name !== parent) throw new Error(`unexpected: ${JSON.stringify(created)}`)
  const [queues] = await client.listQueues({ parent: client.locationPath(project, location) })
  if (!queues.some(one => one.name === parent)) throw new Error('listQueues lacks the queue')
  place.say('createQueue, listQueues')

  const body = Buffer.from('Hello, World!').toString('base64')
  const scheduleTime = { seconds: Date.now() / 1000 }
  const appEngineHttpRequest: protos.google.cloud.tasks.v2.IAppEngineHttpRequest = {
    headers: { 'Content-Type': 'text/plain' },
    httpMethod: 'POST',
    relativeUri: '/log_payload',
    body
  }
  await client.createTask({ parent, task: { name: `${parent}/tasks/app-engine`, appEngineHttpRequest, scheduleTime } })
  await arrival(place, '/log_payload app-engine')
  place.say('createTask')
  const httpRequest: protos.google.cloud.tasks.v2.IHttpRequest = {
    headers: { 'Content-Type': 'text/plain' },
    httpMethod: 'POST',
    url: `${place.targetUrl}/node/http`,
    body
  }
  await client.createTask({ parent, task: { name: `${parent}/tasks/http`, httpRequest } }, { maxRetries: 0 })
  await arrival(place, '/node/http http')
  const oidcToken = { serviceAccountEmail: 'client@demo.iam.gserviceaccount.com' }
  await client.createTask({
    parent,
    task: { name: `${parent}/tasks/token`, httpRequest: { ...httpRequest, url: `${place.targetUrl}/node/token`, oidcToken } }
  })
  await arrival(place, '/node/token token')
  place.say('createHttpTask, createHttpTaskWithToken')
  await client.deleteQueue({ name: parent })
  place.say('deleteQueue')
}

async function firebase (place: Place): Promise<void> {
  const before = process.env.CLOUD_TASKS_EMULATOR_HOST
  process.env.CLOUD_TASKS_EMULATOR_HOST = place.emulator.address
  const app = initializeApp(
    { projectId: 'demo', credential: { getAccessToken: async () => ({ access_token: 'owner', expires_in: 3600 }) } },
    'clients'
  )
  try {
    await place.emulator.engine.createQueue('projects/demo/locations/us-central1/queues/node-firebase')
    const queue = getFunctions(app).taskQueue('locations/us-central1/functions/node-firebase')
    await queue.enqueue({ order: 42 }, { id: 'order-42', uri: `${place.targetUrl}/node/firebase` })
    await arrival(place, '/node/firebase order-42')
    await queue.enqueue({}, { id: 'later', scheduleDelaySeconds: 3600, uri: place.targetUrl })
    await queue.delete('later')
    place.say('firebase-admin: enqueue, delete')
  } finally {
    await deleteApp(app)
    if (before === undefined) delete process.env.CLOUD_TASKS_EMULATOR_HOST
    else process.env.CLOUD_TASKS_EMULATOR_HOST = before
  }
}
