import { connect } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { loadProtos, messageType } from '../../lib/emulator/proto/protos.js'
import { arbitraryMessage, wild } from '../support/arbitrary-message.js'
import { serveBoth, type Answer, type RestAnswer } from '../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/'

/** Any but a surrogate, which a URL cannot encode. `fc.string({ unit: 'binary' })` is the same, but takes a second to create. */
const codePoint = fc.oneof(fc.nat({ max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))

/** Codes for a client's own mistakes. */
const REFUSED = ['INVALID_ARGUMENT', 'NOT_FOUND', 'ALREADY_EXISTS', 'FAILED_PRECONDITION']

t.test('any message gets an answer, and an error is always the caller\'s', async t => {
  const { grpc, http, faults } = await serveBoth(t, { engine: { started: false } })
  const { definitions, schemas } = await loadProtos()
  for (const service of [
    'google.cloud.tasks.v2.CloudTasks',
    'google.cloud.tasks.v2beta3.CloudTasks',
    'google.cloud.location.Locations',
    'google.longrunning.Operations'
  ]) {
    for (const method of Object.keys(definitions[service]!)) {
      const { request } = schemas.method(`${service}.${method}`)
      const wire = messageType(definitions, request.fullName)
      await fc.assert(
        fc.asyncProperty(arbitraryMessage(request, wild), async message => {
          // grpc-js deserializes on the server, so whatever the codec can write arrives.
          fits(await grpc(method, wire.serialize(message) as Buffer, service))
        }),
        { numRuns: 8 }
      )
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async bytes => {
          fits(await grpc(method, Buffer.from(bytes), service))
        }),
        { numRuns: 8 }
      )
    }
  }
  t.match(await grpc('CreateTask', Buffer.from([0xff, 0xff])), { code: 'INVALID_ARGUMENT' }, 'truncated')
  t.match(await grpc('NoSuchMethod', Buffer.alloc(0)), { code: 'UNIMPLEMENTED' })
  t.match(await grpc('CreateQueue', Buffer.alloc(0), 'google.cloud.tasks.v2beta2.CloudTasks'), { code: 'UNIMPLEMENTED' })
  t.match(await grpc('CreateTask', Buffer.alloc(11 * 1024 * 1024)), { code: 'RESOURCE_EXHAUSTED' })
  await http('POST', `/v2/${parent}/queues`, { name: `${parent}/queues/after` })
  t.match(
    await grpc('CreateTask', { parent: `${parent}/queues/after`, task: { httpRequest: { url, body: Buffer.alloc(9 * 1024 * 1024) } } }),
    { code: 'INVALID_ARGUMENT', message: 'Task size too large' }
  )
  t.match(await http('GET', `/v2/${parent}/queues/after`), { status: 200 }, 'it still answers')
  t.same(faults, [])
})

t.test("for any path and method, the response has Google's format", async t => {
  const { http, faults } = await serveBoth(t, { engine: { started: false } })
  const segment = fc.oneof(
    fc.constantFrom(
      'projects',
      'p',
      'locations',
      'l',
      '-',
      'queues',
      'q',
      'tasks',
      't',
      'v1',
      'v2',
      'v2beta3',
      'q:pause',
      ':buffer',
      'tasks:batchCreate',
      'cmekConfig',
      'operations',
      '',
      '..',
      '%',
      '%2F',
      '%zz',
      'a_b',
      'q:nothing',
      '*'
    ),
    fc.array(codePoint, { maxLength: 8 }).map(points => encodeURIComponent(String.fromCodePoint(...points)))
  )
  const path = fc.array(segment, { maxLength: 10 }).map(parts => `/${parts.join('/')}`)
  const near = fc
    .tuple(
      fc.constantFrom('/v2/', '/v2beta3/', '/'),
      fc.constantFrom(`${parent}/queues`, queue, `${queue}/tasks`, `${queue}/tasks/t`, `${parent}/cmekConfig`),
      segment
    )
    .map(parts => parts.join(''))
  const query = fc.oneof(
    fc.constant(''),
    fc
      .dictionary(
        fc.constantFrom('pageSize', 'page_token', 'filter', 'updateMask', 'responseView', 'alt', '$alt', 'x', 'name', 'queue.name'),
        fc.string({ unit: 'grapheme', maxLength: 6 })
      )
      .map(fields => `?${new URLSearchParams(fields)}`)
  )
  const method = fc.constantFrom('GET', 'POST', 'PATCH', 'PUT', 'DELETE')
  await fc.assert(fc.asyncProperty(method, fc.oneof(path, near), query, async (verb, path, query) => {
    fitsRest(await http(verb, path + query, verb === 'POST' || verb === 'PATCH' ? {} : undefined))
  }), { numRuns: 300 })

  // The queue may have been deleted by now.
  const other = `${parent}/queues/other`
  await http('POST', `/v2/${parent}/queues`, { name: other })
  for (const [verb, path] of [
    ['GET', '/'],
    ['GET', '/v2'],
    ['GET', '/v2/nothing'],
    ['GET', '/v3/projects/p/locations'],
    ['PUT', `/v2/${other}`],
    ['POST', `/v2/${other}`],
    ['POST', `/v2/${other}:nothing`],
    ['GET', `/v2/${other}:pause`],
    ['GET', '/v2beta2/projects/p/locations/l/queues'],
    ['GET', `/v2/${other}/tasks/t/x`]
  ] as const) {
    t.match(await http(verb, path), { status: 404, code: 'NOT_FOUND', body: { error: { code: 404 } } }, `${verb} ${path}`)
  }
  t.match(await http('GET', '/v2/%zz'), { status: 400, code: 'INVALID_ARGUMENT' })
  t.equal((await http('HEAD', '/nothing', undefined)).status, 404)
  for (const query of [
    'pageSize=x',
    'pageSize=1.5',
    'pageSize=99999999999',
    'nothing=1',
    'alt=proto',
    '$alt=json;x',
    'pageSize=',
    'responseView=NOTHING'
  ]) {
    t.match(
      await http('GET', `/v2/${other}/tasks?${query}`),
      { status: 400, code: 'INVALID_ARGUMENT', details: [{ '@type': /BadRequest$/ }] },
      query
    )
  }
  t.match(
    await http('GET', `/v2/${other}/tasks?key=k&access_token=x&prettyPrint=false&$.xgafv=2&fields=tasks`),
    { status: 200 },
    "Google's own parameters"
  )
  t.match(await http('GET', `/v2/${other}?nothing=1`), {
    message:
      'Invalid JSON payload received. Unknown name "nothing": Cannot bind query parameter. Field \'nothing\' could not be found in request message.'
  })
  t.match(await http('POST', `/v2/${other}:pause?name=x`, {}), { status: 400 }, 'the body is all of the request')
  t.same(faults, [])
})

t.test('a body is taken exactly when its fields are what they should be', async t => {
  const { http, faults } = await serveBoth(t, { engine: { started: false } })
  const task = async (fields: object) => await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url }, ...fields } })
  const expects = async (fields: object, valid: boolean): Promise<void> => {
    const answer = await task(fields)
    fitsRest(answer)
    if ((answer.status === 200) !== valid) throw new Error(`${JSON.stringify(fields)}: ${answer.status}`)
  }
  const digits = (max: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: max })
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('', '-', '+'),
      digits(6),
      fc.constantFrom('', '.', '.5', '.000000001', '.0000000001', '.x'),
      fc.constantFrom('s', '', 'm', 'S', ' s'),
      async (sign, whole, fraction, unit) => {
        const text = `${sign}${whole}${fraction}${unit}`
        const seconds = Number(`${whole}${fraction}`)
        await expects({ dispatchDeadline: text }, /^\d+(?:\.\d{1,9})?s$/.test(text) && seconds >= 15 && seconds <= 1800)
      }
    ),
    { numRuns: 150 }
  )
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1995, max: 2035 }),
      fc.integer({ min: 0, max: 14 }),
      fc.integer({ min: 0, max: 33 }),
      fc.constantFrom('Z', 'z', '+02:00', '-08:00', '+24:00', '', '+0200', '.5Z', '.1234567891Z'),
      async (year, month, day, zone) => {
        const date = `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
        const exists = month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate()
        const near = Date.parse(`${date}T00:00:00Z`) < Date.parse('2030-01-31T00:00:00Z') // The clock of these tests stands at the beginning of 2030, and 30 days are allowed.
        await expects({ scheduleTime: `${date}T12:30:00${zone}` }, exists && near && ['Z', 'z', '+02:00', '-08:00', '.5Z'].includes(zone))
      }
    ),
    {
      numRuns: 150,
      examples: [
        [2030, 1, 30, 'Z'],
        [2030, 1, 31, 'Z']
      ]
    }
  )
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.constantFrom(0, 1, 7, 8, -1, 1.5, '2', 'POST', 'post', 'OPTIONS', 'HTTP_METHOD_UNSPECIFIED', '', null, true, {}),
        fc.integer()
      ),
      async method => {
        await expects(
          { httpRequest: { url, httpMethod: method } },
          method === null ||
            ['POST', 'OPTIONS', 'HTTP_METHOD_UNSPECIFIED', '2'].includes(method as string) ||
            (Number.isInteger(method) && (method as number) >= 0 && (method as number) <= 7)
        )
      }
    ),
    { numRuns: 60 }
  )
  await fc.assert(fc.asyncProperty(fc.string({ unit: fc.constantFrom(...'AZaz09+/-_= .'), maxLength: 12 }), async text => {
    await expects(
      { httpRequest: { url, body: text } },
      /^[A-Za-z0-9+/_-]*$/.test(text.replace(/={1,2}$/, '')) && (text.includes('=') ? text.length % 4 === 0 : text.length % 4 !== 1)
    )
  }), { numRuns: 150 })
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: fc.constantFrom('a', 'Z', '0', '-', '_', '.', '/', ' ', 'é', '\n'), maxLength: 6 }), async id => {
      const answer = await task({ name: `${queue}/tasks/${id}` })
      fitsRest(answer)
      if (!(/^[A-Za-z0-9_-]+$/.test(id) ? [200, 409] : [400]).includes(answer.status)) throw new Error(`${id}: ${answer.status}`)
    }),
    { numRuns: 150 }
  )
  const fields = [
    'rateLimits',
    'rate_limits',
    'retryConfig.maxAttempts',
    'retry_config.min_backoff',
    'state',
    'nothing',
    'rateLimits.',
    '.',
    'name.x',
    'httpTarget.uriOverride.host',
    'retryConfig.minBackoff.seconds',
    '__proto__',
    'constructor'
  ]
  await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom(...fields), { minLength: 1, maxLength: 3 }), async paths => {
    const answer = await http('PATCH', `/v2/${queue}?updateMask=${paths.join(',')}`, {})
    const valid = paths.every(
      path => !['nothing', 'rateLimits.', '.', 'name.x', 'retryConfig.minBackoff.seconds', '__proto__', 'constructor'].includes(path)
    )
    if ((answer.status === 200) !== valid) throw new Error(`${paths}: ${answer.status}`)
  }), { numRuns: 60 })
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('task', 'name', 'httpRequest', 'headers', 'url', 'body', 'scheduleTime', 'appEngineHttpRequest', 'oidcToken'),
      fc.jsonValue(),
      async (key, value) => {
        for (const body of [{ [key]: value }, { task: { [key]: value } }, { task: { httpRequest: { url, [key]: value } } }, value]) {
          fitsRest(await http('POST', `/v2/${queue}/tasks`, body === undefined ? undefined : JSON.stringify(body)))
        }
      }
    ),
    { numRuns: 100 }
  )

  for (const [body, message] of [
    ['{"task":', /^Invalid JSON payload received\. Unexpected end/],
    ['secret payload', /^Invalid JSON payload received\. (?!.*secret)/],
    ['[]', /Root element must be a message/],
    ['null', /Root element/],
    ['1', /Root element/],
    [{ task: { nothing: 1 } }, 'Invalid JSON payload received. Unknown name "nothing" at \'task\': Cannot find field.'],
    [{ nothing: 1 }, 'Invalid JSON payload received. Unknown name "nothing": Cannot find field.'],
    [
      { task: { httpRequest: { httpMethod: 'FOO' } } },
      'Invalid value at \'task.http_request.http_method\' (type.googleapis.com/google.cloud.tasks.v2.HttpMethod), "FOO"'
    ],
    [{ task: { name: 123 } }, "Invalid value at 'task.name' (TYPE_STRING), 123"],
    [
      { task: { httpRequest: {}, appEngineHttpRequest: {} } },
      "Invalid value at 'task' (oneof), oneof field 'message_type' is already set. Cannot set 'appEngineHttpRequest'"
    ],
    [{ task: [] }, /^Invalid value at 'task'/],
    ['{"__proto__":{"task":1}}', /^Invalid JSON payload received\. Unknown name "__proto__"/],
    [`${'{"task":'.repeat(50_000)}1${'}'.repeat(50_000)}`, /Unknown name "task"/],
    [`${'['.repeat(100_000)}${']'.repeat(100_000)}`, /Root element/]
  ] as const) {
    t.match(await http('POST', `/v2/${queue}/tasks`, body), {
      status: 400,
      code: 'INVALID_ARGUMENT',
      message,
      details: [{ '@type': 'type.googleapis.com/google.rpc.BadRequest' }]
    })
  }
  t.match(
    await http('POST', `/v2/${queue}/tasks`, `{"task":{"httpRequest":{"url":"${url}","headers":{"__proto__":"x","constructor":"y"}}}}`),
    { status: 200, body: { httpRequest: { headers: { constructor: 'y' } } } }
  )
  t.match(await http('POST', `/v2/${queue}/tasks`, '{}', { 'content-type': 'text/plain' }), {
    status: 400,
    message: /content type must be application\/json, not text\/plain/
  })
  t.match(
    await http('POST', `/v2/${queue}/tasks`, '{"task":{"httpRequest":{"url":"https://x/"}}}', {
      'content-type': 'application/json; charset=utf-8'
    }),
    { status: 200 }
  )
  t.match(await http('POST', `/v2/${queue}/tasks`, Buffer.alloc(10 * 1024 * 1024 + 1, ' ')), {
    status: 400,
    message: 'Request payload size exceeds the limit: 10485760 bytes.'
  })
  t.match(await http('DELETE', `/v2/${queue}/tasks/t`, { x: 1 }), { status: 400 })
  t.match(await http('POST', `/v2/${queue}:pause`), { status: 200 }, 'no body is an empty one')
  t.same(faults, [])
})

t.test('bodies that break off, lie about their length or are no HTTP leave the server standing', async t => {
  const { app, http, faults } = await serveBoth(t, { engine: { started: false } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  const head = `POST /v2/${queue}/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`
  const send = async (text: string): Promise<string> => await new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => { socket.end(text) })
    let answer = ''
    socket.on('data', data => { answer += String(data) })
    socket.on('error', () => {})
    socket.on('close', () => { resolve(answer) })
  })
  t.match(await send(`${head}Content-Length: 2\r\nConnection: close\r\n\r\n{}`), /^HTTP\/1.1 400 .*Task.payload_type is not set/s)
  t.match(await send(`${head}Content-Length: 100\r\nConnection: close\r\n\r\n{"task":`), /^(?:HTTP\/1.1 400|$)/)
  t.match(await send(`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`), /^(?:HTTP\/1.1 400|$)/)
  t.match(await send('NOTHING\r\n\r\n'), /^HTTP\/1.1 400/)
  t.match(await send(`${head}X: ${'x'.repeat(100_000)}\r\n\r\n`), /^HTTP\/1.1 4\d\d/)
  t.match(await http('GET', `/v2/${queue}`), { status: 200 })
  t.same(faults, [])
})

function fits (answer: Answer): void {
  if (answer.code !== 'OK' && answer.code !== 'UNIMPLEMENTED' && !REFUSED.includes(answer.code) && answer.code !== 'ABORTED') {
    throw new Error(`${answer.code}: ${answer.message}`)
  }
}

function fitsRest (answer: RestAnswer): void {
  fits(answer)
  if (answer.code === 'OK' ? typeof answer.body !== 'object' : answer.status >= 500 && answer.status !== 501) {
    throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`)
  }
  if (answer.code !== 'OK' && answer.body.error.code !== answer.status) throw new Error(JSON.stringify(answer.body))
}
