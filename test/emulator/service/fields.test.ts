import t from 'tap'
import { loadProtos, messageType } from '../../../lib/emulator/proto/protos.js'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const v2beta3 = 'google.cloud.tasks.v2beta3.CloudTasks'

t.test('gRPC v2 has the fields and methods of September 2026, under their numbers', async t => {
  const { grpc, last, warnings } = await serveBoth(t)
  const { definitions } = await loadProtos()
  const numbers = (message: string) =>
    Object.fromEntries(
      (messageType(definitions, `google.cloud.tasks.v2.${message}`).type as { field: Array<{ name: string, number: number }> }).field.map(
        field => [field.name, field.number]
      )
    )
  t.strictSame(numbers('Queue').httpTarget, 10)
  t.strictSame(numbers('Task').retryConfig, 12)
  t.strictSame(numbers('HttpTarget'), { uriOverride: 1, httpMethod: 2, headerOverrides: 3, oauthToken: 5, oidcToken: 6 })
  t.strictSame(numbers('UriOverride'), { scheme: 1, host: 2, port: 3, pathOverride: 4, queryOverride: 5, uriOverrideEnforceMode: 6 })

  const name = `${parent}/queues/target`
  const httpTarget = { uriOverride: { scheme: 'HTTP', host: 'other.example', pathOverride: { path: '/hook' } }, httpMethod: 'PUT' }
  t.match((await grpc('CreateQueue', { parent, queue: { name, httpTarget } })).body, { httpTarget })
  t.match((await grpc('GetQueue', { name })).body, { httpTarget: { uriOverride: { host: 'other.example' } } })
  const retryConfig = { maxAttempts: 2, minBackoff: { seconds: 7 } }
  t.match((await grpc('CreateTask', { parent: name, task: { httpRequest: { url }, retryConfig } })).body, { retryConfig })
  t.match(last().task, { httpRequest: { url: 'http://other.example/hook', httpMethod: 'PUT' }, retryConfig: { maxAttempts: 2 } })
  t.match((await grpc('UpdateQueue', { queue: { name }, updateMask: { paths: ['http_target.uri_override'] } })).body.httpTarget, {
    httpMethod: 'PUT',
    uriOverride: undefined
  })

  const made = (
    await grpc('BatchCreateTasks', { parent: queue, requests: [{ task: { name: `${queue}/tasks/a`, httpRequest: { url } } }] })
  ).body
  t.match(made, {
    done: true,
    metadata: { type_url: 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksMetadata' },
    response: { type_url: 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksResponse' }
  })
  t.match(messageType(definitions, 'google.cloud.tasks.v2.BatchCreateTasksResponse').deserialize(made.response.value), {
    tasks: [{ name: `${queue}/tasks/a` }]
  })
  t.match((await grpc('BatchDeleteTasks', { parent: queue, names: [`${queue}/tasks/a`] })).body, {
    done: true,
    metadata: { type_url: /v2.BatchDeleteTasksMetadata$/ }
  })
  t.strictSame(warnings, [])
})

t.test("a location's customer-managed key is kept as it was set, in both versions and over both interfaces", async t => {
  const { http, grpc } = await serveBoth(t)
  const name = `${parent}/cmekConfig`
  const kmsKey = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'
  t.strictSame((await http('GET', `/v2/${name}`)).body, { name })
  t.strictSame((await http('PATCH', `/v2/${name}`, { kmsKey })).body, { name, kmsKey })
  t.strictSame((await http('GET', `/v2beta3/${name}`)).body, { name, kmsKey })
  t.match((await grpc('GetCmekConfig', { name })).body, { kmsKey })
  t.match((await grpc('GetCmekConfig', { name: 'projects/p/locations/other/cmekConfig' })).body, { kmsKey: undefined })
  t.match(
    (await grpc('UpdateCmekConfig', { cmekConfig: { name, kmsKey: `${kmsKey}2` }, updateMask: { paths: ['kms_key'] } }, v2beta3)).body,
    { name, kmsKey: `${kmsKey}2` }
  )
  for (const [bad, message] of [
    [{ kmsKey: 'k' }, /^CmekConfig.kmsKey must be formatted: .*, not 'k'\.$/],
    [{ kms: kmsKey }, /Unknown name "kms"/]
  ] as const) {
    t.match(await http('PATCH', `/v2/${name}`, bad), { status: 400, code: 'INVALID_ARGUMENT', message })
  }
  t.match(await http('PATCH', `/v2/${name}?updateMask=nothing`, {}), { status: 400 })
  t.match(await grpc('UpdateCmekConfig', { cmekConfig: { name: 'x' } }), { code: 'INVALID_ARGUMENT' })
  t.strictSame((await http('PATCH', `/v2/${name}?updateMask=kmsKey`, {})).body, { name }, 'removed')
})

t.test('fields that this version does not know are logged, once per method, and the rest of the call counts', async t => {
  const { grpc, warnings } = await serveBoth(t)
  const { definitions } = await loadProtos()
  const request = messageType(definitions, 'google.cloud.tasks.v2.CreateTaskRequest')
  const text = (field: number, value: Buffer): Buffer => Buffer.concat([varint(field * 8 + 2), varint(value.length), value])
  const httpRequest = messageType(definitions, 'google.cloud.tasks.v2.HttpRequest').serialize({ url }) as Buffer
  const newer = Buffer.concat([
    request.serialize({ parent: queue }) as Buffer,
    text(2, Buffer.concat([text(3, Buffer.concat([httpRequest, text(99, Buffer.from('x'))])), varint(2000 * 8), varint(5)])),
    varint(7 * 8 + 5), Buffer.from([1, 2, 3, 4])
  ])
  for (let i = 0; i < 3; i++) t.match(await grpc('CreateTask', newer), { code: 'OK', body: { httpRequest: { url } } })
  t.strictSame(warnings, [
    'google.cloud.tasks.v2.CloudTasks.CreateTask was called with fields that are unknown to this emulator and ignored: task.http_request.99, task.2000, 7. The client is newer than the emulator; update fastify-cloud-tasks.'
  ])
  t.match(await grpc('PauseQueue', Buffer.concat([text(1, Buffer.from(queue)), text(2, Buffer.from('x'))])), { code: 'OK' })
  t.match(warnings, [/CreateTask/, /PauseQueue was called .* ignored: 2\./])
})

function varint (value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push(rest % 128 + 128)
  }
}
