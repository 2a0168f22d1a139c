import { gzipSync } from 'node:zlib'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { loadProtos } from '../../../lib/emulator/proto/protos.js'
import { bodyJson, formQuery } from '../../../lib/emulator/rest/body.js'
import { Routes } from '../../../lib/emulator/rest/routes.js'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const MAX_REQUEST_BYTES = 10 * 1024 * 1024

t.test('a body may be gzipped, and what it inflates to is bounded', async t => {
  const { http, app } = await serveBoth(t, { engine: { started: false } })
  const gzip = { 'content-encoding': 'gzip' }
  const task = { httpRequest: { url, body: Buffer.alloc(500_000).toString('base64') } }
  for (const encoding of ['gzip', 'x-gzip', 'GZIP']) {
    t.match(await http('POST', `/v2/${queue}/tasks`, gzipSync(JSON.stringify({ task })), { 'content-encoding': encoding }), {
      status: 200,
      body: { httpRequest: { url } }
    })
  }
  t.match(await http('POST', `/v2/${queue}/tasks`, { task }, { 'content-encoding': 'identity' }), { status: 200 })
  const { statusCode, body } = await app.inject({ method: 'POST', url: `/v2/${queue}:pause`, headers: gzip })
  t.equal(statusCode, 200, 'no body')
  t.match(JSON.parse(body), { state: 'PAUSED' })
  for (const [what, payload, headers, message] of [
    ['not gzip', Buffer.from('{}'), gzip, /^The body is not valid gzip, although its Content-Encoding says so: incorrect header check\.$/],
    ['cut short', gzipSync(JSON.stringify({ task })).subarray(0, 100), gzip, /^The body is not valid gzip, .*: unexpected end of file\.$/],
    ['too large', gzipSync(Buffer.alloc(MAX_REQUEST_BYTES + 1)), gzip, /^Request payload size exceeds the limit: 10485760 bytes\.$/],
    ['another encoding', Buffer.from('{}'), { 'content-encoding': 'br' }, /^Content-Encoding br is not supported; use gzip, or none\.$/],
    ['two encodings', Buffer.from('{}'), { 'content-encoding': 'gzip, gzip' }, /not supported/]
  ] as const) t.match(await http('POST', `/v2/${queue}/tasks`, payload, headers), { status: 400, code: 'INVALID_ARGUMENT', message }, what)
  t.match(await http('GET', `/v2/${queue}`), { status: 200 }, 'it still answers')
})

t.test('a body is a JSON object of a JSON type, or absent; a form is one of its own', async t => {
  const request = (body: string | undefined, type?: string) => ({
    headers: type === undefined ? {} : { 'content-type': type },
    body: body === undefined ? undefined : Buffer.from(body)
  }) as unknown as FastifyRequest
  for (const [body, type] of [[undefined, undefined], ['', undefined], ['', 'text/plain']] as const) {
    t.equal(bodyJson(request(body, type)), undefined)
  }
  for (const type of [undefined, 'application/json', 'Application/JSON ; charset=utf-8', 'application/vnd.api+json', 'application/a-b.c+json']) {
    t.strictSame(bodyJson(request('{"a":1}', type)), { a: 1 }, String(type))
  }
  for (const type of ['text/plain', 'xapplication/json', 'application/jsonx', 'application/+json', 'application/a/b+json', 'application/xjson', '']) {
    t.throws(() => bodyJson(request('{"a":1}', type)), { code: 'INVALID_ARGUMENT' }, type)
  }
  for (const [body, problem] of [
    ...['[]', 'null', '1', '"a"'].map(body => [body, /^Root element must be a message\.$/] as const),
    ['{"secret":', /^Unexpected end of string\.$/],
    ['{"secret":x}', /^Unexpected token(?: at position 10)?\.$/],
    ['{"a":1} secret', /^Unexpected token(?: at position 8)?\.$/],
    ['secret', /^Unexpected token(?: at position 0)?\.$/]
  ] as const) {
    try {
      bodyJson(request(body))
      t.fail(body)
    } catch (error) {
      const { code, message } = error as { code?: string, message: string }
      t.equal(code, 'INVALID_ARGUMENT', body)
      t.match(message.replace('Invalid JSON payload received. ', ''), problem)
    }
  }
  t.equal(formQuery(request('a=b', 'application/x-www-form-urlencoded; charset=utf-8')), 'a=b')
  t.equal(formQuery(request(undefined, 'application/x-www-form-urlencoded')), undefined)
  for (const type of [undefined, 'application/json']) t.equal(formQuery(request('a=b', type)), undefined)
})

t.test('a path is a method and a resource, whose ids may contain anything, even what looks like a method', async t => {
  const routes = new Routes(await loadProtos())
  const task = `${queue}/tasks/t`
  for (const [call, expected] of [
    [`GET /v2/${queue}`, ['v2', 'GetQueue', 'name', queue, undefined]],
    [`GET /v2/${parent}/queues`, ['v2', 'ListQueues', 'parent', parent, undefined]],
    [`PATCH /v2beta3/${queue}`, ['v2beta3', 'UpdateQueue', 'queue.name', queue, 'queue']],
    [`POST /v2/${queue}:pause`, ['v2', 'PauseQueue', 'name', queue, '*']],
    [`POST /v2/${task}:run`, ['v2', 'RunTask', 'name', task, '*']],
    [`POST /v2/${queue}/tasks:batchCreate`, ['v2', 'BatchCreateTasks', 'parent', queue, '*']],
    [`POST /v2/${queue}/tasks:buffer`, ['v2', 'BufferTask', 'queue', queue, 'raw']],
    [`POST /v2beta3/${task}:buffer`, ['v2beta3', 'BufferTask', 'name', task, 'raw']],
    [`PATCH /v2/${parent}/cmekConfig`, ['v2', 'UpdateCmekConfig', 'cmek_config.name', `${parent}/cmekConfig`, 'cmek_config']],
    [`GET /v2/${parent}/operations/o`, ['v2', 'GetOperation', 'name', `${parent}/operations/o`, undefined]],
    ['GET /v1/projects/p/locations', ['v2', 'ListLocations', 'name', 'projects/p', undefined]],
    [`GET /v2beta3/${parent}`, ['v2', 'GetLocation', 'name', parent, undefined]],
    [`GET /v2/${queue}/tasks/a%3Ab%2Fc%20%F0%9F%98%80`, ['v2', 'GetTask', 'name', `${queue}/tasks/a:b/c 😀`, undefined]],
    [`GET /v2/${task}:nothing`, ['v2', 'GetTask', 'name', `${task}:nothing`, undefined]],
    [`GET /v2/${queue}/tasks/`, ['v2', 'GetTask', 'name', `${queue}/tasks/`, undefined]],
    [`POST /v2/${queue}/tasks/a:b:run`, ['v2', 'RunTask', 'name', `${queue}/tasks/a:b`, '*']],
    [`GET /v2/${task}:run`, undefined],
    [`POST /v2/${queue}`, undefined],
    [`GET /v2/${queue}/tasks/%zz`, undefined],
    [`GET /v2/${parent}/boxes/q`, undefined],
    [`GET /v3/${queue}`, undefined],
    ['GET /', undefined]
  ] as const) {
    const [httpMethod, path] = call.split(' ') as [string, string]
    const found = routes.find(httpMethod, path)
    t.strictSame(found && [found.version, found.method, found.variable, found.resource, found.body], expected, call)
  }
  t.equal(routes.find('GET', `/v2beta3/${queue}`)!.response.fullName, 'google.cloud.tasks.v2beta3.Queue')
  t.equal(routes.find('POST', `/v2/${queue}/tasks:buffer`)!.request.fullName, 'google.api.HttpBody')
  t.equal(routes.find('GET', `/v2/${parent}/operations/o`)!.response.fullName, 'google.longrunning.Operation')
})

t.test('an error of the emulator itself is INTERNAL over both interfaces, and is reported', async t => {
  const { http, grpc, faults, engine } = await serveBoth(t)
  const fault = new Error('a fault')
  engine.getQueue = () => { throw fault }
  t.match(await http('GET', `/v2/${queue}`), { status: 500, code: 'INTERNAL', body: { error: { code: 500 } } })
  t.equal((await grpc('GetQueue', { name: queue })).code, 'INTERNAL')
  t.strictSame(faults, [fault, fault])
})

t.test('a method without a body accepts an empty object, and rejects any field', async t => {
  const { http } = await serveBoth(t, { engine: { started: false } })
  t.match(await http('DELETE', `/v2/${queue}`, { name: 'x' }), {
    status: 400,
    code: 'INVALID_ARGUMENT',
    message: 'Invalid JSON payload received. Unknown name "name": Cannot find field.'
  })
  t.equal((await http('DELETE', `/v2/${queue}`, {})).status, 200)
})
