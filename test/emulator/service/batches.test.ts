import t from 'tap'
import { loadProtos, messageType } from '../../../lib/emulator/proto/protos.js'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const v2beta3 = 'google.cloud.tasks.v2beta3.CloudTasks'

t.test('a batch with a name that exists is rejected, though its other tasks are created, once per request id', async t => {
  for (const version of ['v2', 'v2beta3']) {
    const { http, grpc } = await serveBoth(t, { engine: { started: false } })
    const taskOf = (id: string) => ({
      parent: queue,
      task: { ...(id === '' ? {} : { name: `${queue}/tasks/${id}` }), httpRequest: { url } }
    })
    const requestId = '3f1b6c1e-7a54-4f4b-9b5d-0c1d2e3f4a5b'
    const create = async (ids: string[], fields = {}) =>
      await http('POST', `/${version}/${queue}/tasks:batchCreate`, { requests: ids.map(taskOf), ...fields })
    const taskCount = async () => ((await http('GET', `/v2/${queue}/tasks`)).body.tasks ?? []).length
    t.match(await create(['a']), { status: 200, body: { metadata: { state: 'SUCCEEDED' } } })

    const rejected = { status: 409, code: 'ALREADY_EXISTS', message: 'Requested entity already exists' }
    t.match(await create(['', 'a', 'b'], { requestId }), rejected)
    t.equal(await taskCount(), 3, 'the others were created')
    t.match(await create(['', 'a', 'b'], { requestId }), rejected)
    t.equal(await taskCount(), 3, 'nothing is done twice')
    t.match(await http('GET', `/${version}/${parent}/operations/q-${requestId}`), { status: 404 }, 'there is no operation')
    t.match(await create(['c', 'c']), rejected, 'twice in one batch')
    await http('DELETE', `/v2/${queue}/tasks/c`)
    t.match(
      await grpc('BatchCreateTasks', { parent: queue, requests: ['c', 'd'].map(taskOf) }, `google.cloud.tasks.${version}.CloudTasks`),
      { code: 'ALREADY_EXISTS', message: /existed too recently/ },
      'a tombstone counts, too'
    )
    t.equal(await taskCount(), 4)
  }
})

t.test('duplicates of a batch are reported in its operation where that is asked for, once for each request id', async t => {
  const { http, grpc } = await serveBoth(t, { batchDuplicates: 'report', engine: { started: false } })
  const requestId = '3f1b6c1e-7a54-4f4b-9b5d-0c1d2e3f4a5b'
  const requests = ['a', 'a', 'b'].map(id => ({ parent: queue, task: { name: `${queue}/tasks/${id}`, httpRequest: { url } } }))
  const made = await http('POST', `/v2/${queue}/tasks:batchCreate`, { requests, requestId })
  t.match(made, {
    status: 200,
    body: {
      name: new RegExp(`^${parent}/operations/`),
      done: true,
      metadata: {
        '@type': 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksMetadata',
        state: 'PARTIALLY_SUCCEEDED',
        startTime: /Z$/,
        failedRequests: { 1: { code: 6, message: 'Requested entity already exists' } }
      },
      response: {
        '@type': 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksResponse',
        tasks: [{ name: `${queue}/tasks/a`, createTime: /Z$/ }, { name: `${queue}/tasks/b` }]
      }
    }
  })
  t.same((await http('POST', `/v2/${queue}/tasks:batchCreate`, { requests, requestId })).body, made.body)
  t.same((await http('GET', `/v2/${made.body.name}`)).body, made.body)

  const failed = await grpc('BatchCreateTasks', { parent: queue, requests }, v2beta3)
  t.match(failed.body, {
    done: true,
    error: { code: 10, message: /^None of the requests succeeded/ },
    metadata: { type_url: 'type.googleapis.com/google.cloud.tasks.v2beta3.BatchCreateTasksMetadata' }
  })
  t.match(
    messageType((await loadProtos()).definitions, 'google.cloud.tasks.v2beta3.BatchCreateTasksMetadata').deserialize(
      failed.body.metadata.value
    ),
    {
      state: 'FAILED',
      failedRequests: { 0: { code: 6 }, 2: { code: 6, message: 'Requested entity already exists' } }
    }
  )
  t.match((await grpc('GetOperation', { name: failed.body.name }, 'google.longrunning.Operations')).body, failed.body)
  t.match(await grpc('GetOperation', { name: 'x' }, 'google.longrunning.Operations'), { code: 'NOT_FOUND' })
  const deleted = await http('POST', `/v2beta3/${queue}/tasks:batchDelete`, { names: [`${queue}/tasks/a`, `${queue}/tasks/b`] })
  t.match(deleted.body, {
    metadata: { state: 'SUCCEEDED', '@type': /v2beta3.BatchDeleteTasksMetadata/ },
    response: { '@type': 'type.googleapis.com/google.protobuf.Empty' }
  })
  t.same((await http('GET', `/v2/${queue}/tasks`)).body, {})
  for (const bad of [
    {},
    { requests: Array(101).fill({}) },
    { requests, requestId: 'x' },
    { requests: [{ parent: `${parent}/queues/other` }] }
  ]) {
    t.match(await http('POST', `/v2/${queue}/tasks:batchCreate`, bad), { status: 400, code: 'INVALID_ARGUMENT' })
  }
  t.match(await http('POST', `/v2/${parent}/queues/missing/tasks:batchDelete`, { names: ['x'] }), { status: 404 })
})
