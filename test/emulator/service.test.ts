import t from 'tap'
import { faces } from './stage.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'

t.test('queues and tasks are created, read, listed and deleted alike over gRPC and REST', async t => {
  const { http, grpc, close } = await faces({ engine: { started: false } })
  t.match(await http('POST', `/v2/${parent}/queues`, { name: `${parent}/queues/a`, rateLimits: { maxDispatchesPerSecond: 1 } }), {
    status: 200,
    body: { name: `${parent}/queues/a`, rateLimits: { maxDispatchesPerSecond: 1, maxBurstSize: 10, maxConcurrentDispatches: 1000 }, state: 'RUNNING' }
  })
  t.match(await grpc('GetQueue', { name: `${parent}/queues/a` }), { code: 'OK', body: { name: `${parent}/queues/a`, retryConfig: { minBackoff: { nanos: 100_000_000 } } } })
  t.match(await grpc('CreateQueue', { parent, queue: { name: `${parent}/queues/b` } }), { code: 'OK' })
  t.match((await http('GET', `/v2/${parent}/queues`)).body.queues.map((one: any) => one.name), ['a', 'b', 'q'].map(id => `${parent}/queues/${id}`))

  const made = await grpc('CreateTask', { parent: queue, task: { name: `${queue}/tasks/t`, httpRequest: { url, body: Buffer.from('hi') } }, responseView: 'FULL' })
  t.match(made, { code: 'OK', body: { httpRequest: { url, httpMethod: 'POST', body: Buffer.from('hi') }, view: 'FULL' } })
  t.match(await http('GET', `/v2/${queue}/tasks/t`), { status: 200, body: { name: `${queue}/tasks/t`, httpRequest: { url, body: undefined }, view: 'BASIC' } })
  t.match(await http('GET', `/v2/${queue}/tasks?responseView=FULL`), { status: 200, body: { tasks: [{ httpRequest: { body: 'aGk=' } }] } })
  t.match(await http('POST', `/v2/${queue}/tasks`, { task: { http_request: { url, body: 'aGk=' } } }), { status: 200 })
  t.equal((await grpc('ListTasks', { parent: queue })).body.tasks.length, 2)
  t.match(await http('DELETE', `/v2/${queue}/tasks/t`), { status: 200, body: {} })
  t.match(await grpc('DeleteQueue', { name: queue }), { code: 'OK' })
  t.match(await http('GET', `/v2/${queue}`), { status: 404, code: 'NOT_FOUND' })
  await close()
})
