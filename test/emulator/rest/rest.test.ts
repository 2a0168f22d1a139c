import fc from 'fast-check'
import t from 'tap'
import { loadProtos } from '../../../lib/emulator/proto/protos.js'
import { callerCheck } from '../../../lib/emulator/rest/caller-check.js'
import { Parameters } from '../../../lib/emulator/rest/parameters.js'
import { parseSelection, selected } from '../../../lib/emulator/rest/partial-response.js'
import { serveBoth, type RestAnswer } from '../../support/emulator-harness.js'
import { schemas } from '../../support/proto-schema.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'

t.test('a POST may stand for another method, as clients behind proxies send it', async t => {
  const { http } = await serveBoth(t)
  const as = (method: string, headers = {}) => ({ 'x-http-method-override': method, ...headers })
  const name = `${parent}/queues/u`
  t.match(await http('POST', `/v2/${name}?updateMask=retryConfig.maxAttempts`, { retryConfig: { maxAttempts: 7 } }, as('PATCH')), {
    status: 200,
    body: { name, retryConfig: { maxAttempts: 7 } }
  })
  t.match(await http('POST', `/v2/${name}`, undefined, as('get')), { status: 200, body: { name } })
  t.match(await http('POST', `/v2/${name}`, undefined, as('DELETE')), { status: 200, body: {} })
  t.match(await http('POST', `/v2/${name}`, undefined, as('GET')), { status: 404, message: /^Queue does not exist/ })

  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const filter = `name:"${'x'.repeat(3000)}" OR name:"queues/q"`
  t.match(
    (await http('POST', `/v2/${parent}/queues?alt=json`, new URLSearchParams({ filter, pageSize: '1' }).toString(), as('GET', form))).body,
    { queues: [{ name: queue }] },
    'parameters that are too long for a URL'
  )
  t.match(await http('POST', `/v2/${parent}/queues`, 'filter=nothing:1', as('GET', form)), { status: 400, message: /^Invalid filter/ })
  for (const method of ['PUT', 'NONSENSE', '']) {
    t.match(await http('POST', `/v2/${queue}`, {}, as(method)), { status: 404, message: 'Method not found.' }, method)
  }
  t.match(await http('GET', `/v2/${queue}`, undefined, as('DELETE')), { status: 200, body: { name: queue } }, 'on POST only')
  t.match(await http('POST', `/v2/${queue}:pause`, 'x=1', form), { status: 400, message: /content type/ }, 'a form is no body')
})

t.test('web pages cannot call it with any request that browsers allow', async t => {
  const { http } = await serveBoth(t)
  const open = await serveBoth(t, { host: '0.0.0.0' })
  const host = '127.0.0.1:8123'
  for (const path of [`/v2/${queue}/tasks`, `/v2/${queue}:purge`, `/v2/${queue}:pause`, `/v2/${queue}/tasks:buffer`, `/${queue}/tasks`]) {
    for (const headers of [
      { host, origin: 'http://evil.example' },
      { host, origin: 'null' },
      { host, origin: `http://${host}` },
      { host, 'sec-fetch-site': 'cross-site' },
      { host, 'sec-fetch-site': 'same-site' }
    ] as Array<Record<string, string>>) {
      t.strictSame(await rejected(http('POST', path, undefined, headers)), [403, 'PERMISSION_DENIED'], `${path} ${JSON.stringify(headers)}`)
      t.equal((await open.http('POST', path, undefined, headers)).status, 403, `${path} where others may call`)
    }
    t.not((await http('POST', path, undefined, { host })).status, 403, path)
  }
  t.equal((await http('GET', `/v2/${queue}`, undefined, { host, 'sec-fetch-site': 'none' })).status, 200, 'typed into the address bar')
})

t.test('on a loopback address it answers to names that no web page can have, and to those that are allowed', async t => {
  const accepts = (listensOn: string, host: string | undefined, allowed?: readonly string[]): boolean => {
    try {
      callerCheck(listensOn, allowed)(host === undefined ? {} : { host })
      return true
    } catch (error) {
      t.equal((error as { code?: string }).code, 'PERMISSION_DENIED')
      return false
    }
  }
  for (const [host, expected] of [
    ['evil.example', false],
    ['evil.example:8123', false],
    ['127.0.0.1.evil.example', false],
    ['tasks.test.example', false],
    ['tasks.mylocal', false],
    ['local', true],
    ['localhost', true],
    ['LOCALHOST:1', true],
    ['[::1]:1', true],
    ['10.0.0.7:8123', true],
    ['emulator:8123', true],
    ['host.docker.internal:1', true],
    ['tasks.local', true],
    ['tasks.test', true],
    ['', true],
    [undefined, true]
  ] as const) {
    for (const address of ['127.0.0.1', '127.1.2.3', '::1', 'localhost', 'LocalHost']) t.equal(accepts(address, host), expected, `${host}, ${address}`)
    for (const address of ['0.0.0.0', '::', '10.127.0.1', 'localhost.example', '::12']) t.ok(accepts(address, host), `${host}, ${address}`)
  }
  t.ok(accepts('127.0.0.1', 'Tasks.Example:1', ['tasks.example']))
  t.notOk(accepts('127.0.0.1', 'more.tasks.example', ['tasks.example']))
  t.ok(accepts('127.tasks.Example', '127.tasks.example'), 'the name that it listens on')
})

t.test('query parameters are fields of the request, and those of the system are not', async t => {
  const order = schemas.message('shop.v1.Order')
  const bound = (query: string): object => {
    const message = { orderId: 'kept' }
    new Parameters(query).bind(order, message)
    return message
  }
  t.strictSame(bound('count=5&order_id=a%20b&paid=true&size=SMALL&mask=a,b'), {
    orderId: 'a b',
    count: 5,
    paid: true,
    size: 'SMALL',
    mask: { paths: ['a', 'b'] }
  })
  const system = [
    'alt=json', '$alt=json', 'access_token=x', 'callback=x', 'fields=x', '$fields=x', 'key=x', 'oauth_token=x', 'prettyPrint=x', 'quotaUser=x',
    'uploadType=x', 'upload_protocol=x', '$.xgafv=2', 'xgafv=2', 'userProject=x', '$userProject=x', 'apiVersion=x'
  ].join('&')
  t.strictSame(bound(system), { orderId: 'kept' })
  new Parameters(system).refuseFields()
  for (const name of ['nothing', 'count.x', '$$alt', 'x$alt']) {
    for (const call of [() => bound(`${name}=1`), () => { new Parameters(`alt=json&${name}=1`).refuseFields() }]) {
      t.throws(call, {
        code: 'INVALID_ARGUMENT',
        message: `Invalid JSON payload received. Unknown name "${name}": Cannot bind query parameter. ` +
          `Field '${name}' could not be found in request message.`
      })
    }
  }
  for (const name of ['first', 'placedAt', 'labels']) {
    t.throws(() => bound(`${name}=1`), { code: 'INVALID_ARGUMENT', message: /: Cannot bind query parameter\. / }, name)
  }
  t.throws(() => bound('count=x'), { code: 'INVALID_ARGUMENT' })

  const read = (query: string) => {
    const { enumsAsNumbers, selector } = new Parameters(query)
    return [enumsAsNumbers, selector]
  }
  t.strictSame(read(''), [false, undefined])
  t.strictSame(read('fields=&$fields=%20'), [false, undefined])
  t.strictSame(read('fields=a&$fields=b,c&fields=%20'), [false, 'a,b,c'])
  t.strictSame(read('alt=json'), [false, undefined])
  t.strictSame(read('$alt=json;enum-encoding=int'), [true, undefined])
  t.strictSame(read('alt=json&$alt=json;enum-encoding=int;enum-encoding=int'), [true, undefined])
  for (const format of ['proto', 'json;', 'xjson', 'json;enum-encoding=string', 'jsonx', '']) {
    t.throws(() => new Parameters(`alt=${format}`), { code: 'INVALID_ARGUMENT' }, format)
    t.throws(() => new Parameters(`alt=json&$alt=${format}`), { code: 'INVALID_ARGUMENT' }, format)
  }
})

t.test('a selector selects fields by both of their names, at any depth, and any key of a map or an Any', async t => {
  const order = schemas.message('shop.v1.Order')
  const json = {
    orderId: 'a', count: 1, lines: [{ item: 'x', at: 't' }, {}], first: { item: 'y' }, labels: { a: { b: 1 }, c: 2 }, extra: { '@type': 't', z: [1] }
  }
  for (const [selector, expected] of [
    ['orderId', { orderId: 'a' }],
    ['order_id,count', { orderId: 'a', count: 1 }],
    ['*', json],
    ['lines/item', { lines: [{ item: 'x' }, {}] }],
    ['lines(item,at),first', { lines: [{ item: 'x', at: 't' }, {}], first: { item: 'y' } }],
    ['first.item,first', { first: { item: 'y' } }],
    ['first,first.item', { first: { item: 'y' } }],
    ['labels/a/b', { labels: { a: { b: 1 } } }],
    ['labels(c)', { labels: { c: 2 } }],
    ['labels/c/d', { labels: {} }],
    ['*/item', { lines: [{ item: 'x' }, {}], first: { item: 'y' }, labels: {}, extra: {} }],
    ['extra/z', { extra: { z: [1] } }],
    [' count ', { count: 1 }],
    [`labels${'/x'.repeat(50)}`, { labels: {} }]
  ] as const) t.strictSame(selected(json, parseSelection(order, selector)), expected, selector)
  for (const selector of [
    '', ' ', ',', 'count,', 'count)', '(count)', 'lines(item', 'lines()', 'first/', 'count count', 'count/x', 'placedAt/seconds', 'nothing', 'first/nothing',
    `labels${'/x'.repeat(51)}`
  ]) t.throws(() => parseSelection(order, selector), { code: 'INVALID_ARGUMENT' }, selector)
})

t.test('fields select a part of the response', async t => {
  const { http } = await serveBoth(t, { engine: { started: false } })
  const name = `${queue}/tasks/a`
  await http('POST', `/v2/${queue}/tasks`, { task: { name, httpRequest: { url, headers: { 'X-A': '1' } } } })
  const get = async (path: string, fields: string) => (await http('GET', `/v2/${path}?fields=${encodeURIComponent(fields)}`)).body
  const headers = { 'User-Agent': 'Google-Cloud-Tasks', 'X-A': '1' }
  for (const [path, fields, expected] of [
    [name, 'name', { name }],
    [name, 'name,httpRequest(url,httpMethod),view', { name, httpRequest: { url, httpMethod: 'POST' }, view: 'BASIC' }],
    [name, 'http_request/url', { httpRequest: { url } }],
    [name, 'httpRequest.headers', { httpRequest: { headers } }],
    [name, 'httpRequest/headers/X-A', { httpRequest: { headers: { 'X-A': '1' } } }],
    [name, 'httpRequest/url,httpRequest(headers/X-A)', { httpRequest: { url, headers: { 'X-A': '1' } } }],
    [name, 'httpRequest/url,httpRequest', { httpRequest: { url, httpMethod: 'POST', headers } }],
    [`${queue}/tasks`, 'tasks(name),nextPageToken', { tasks: [{ name }] }],
    [`${queue}/tasks`, 'tasks/*/url', { tasks: [{ httpRequest: { url } }] }],
    [queue, 'rateLimits( maxBurstSize )', { rateLimits: { maxBurstSize: 100 } }]
  ] as const) t.strictSame(await get(path, fields), expected, fields)
  t.strictSame((await http('GET', `/v2/${name}?fields=`)).body, (await http('GET', `/v2/${name}`)).body)
  t.strictSame((await http('GET', `/v2/${name}?$fields=name&fields=view`)).body, { name, view: 'BASIC' })
  const batch = (await http('POST', `/v2/${queue}/tasks:batchDelete?fields=done,metadata/state`, { names: [name] })).body
  t.strictSame(batch, { done: true, metadata: { state: 'SUCCEEDED' } }, 'inside of an Any, too')

  for (const [fields, message] of [
    ['nothing', "Error expanding 'fields' parameter. Cannot find matching fields for path 'nothing'."],
    ['httpRequest(url,none)', "Error expanding 'fields' parameter. Cannot find matching fields for path 'httpRequest.none'."],
    ['name/x', "Error expanding 'fields' parameter. Cannot find matching fields for path 'name.x'."],
    ['scheduleTime.seconds', "Error expanding 'fields' parameter. Cannot find matching fields for path 'scheduleTime.seconds'."],
    ['name,', "Invalid value of the 'fields' parameter. A field is expected at its end."],
    ['httpRequest(url', "Invalid value of the 'fields' parameter. A parenthesis is not closed."],
    ['name)', "Invalid value of the 'fields' parameter. Unexpected ')'."],
    [',name', "Invalid value of the 'fields' parameter. A field is expected, not ','."]
  ] as const) {
    t.match(
      await http('POST', `/v2/${queue}/tasks?fields=${encodeURIComponent(fields)}`, { task: { httpRequest: { url } } }),
      { status: 400, code: 'INVALID_ARGUMENT', message },
      fields
    )
  }
  t.strictSame((await http('GET', `/v2/${queue}/tasks`)).body, {}, 'refused before anything was created')
})

t.test('any selector selects or is rejected, and what is selected is a part of the response', async t => {
  const { schemas } = await loadProtos()
  const schema = schemas.message('google.cloud.tasks.v2.ListTasksResponse')
  const json = { tasks: [{ name: 'a', httpRequest: { url, headers: { a: 'b' } } }, { name: 'b' }], nextPageToken: 'x' }
  const text = fc
    .array(fc.constantFrom('tasks', 'name', 'httpRequest', 'url', 'headers', 'a', '*', ',', '/', '.', '(', ')', ' ', 'é'), {
      maxLength: 12
    })
    .map(parts => parts.join(''))
  fc.assert(fc.property(text, selector => {
    try {
      return isPart(selected(json, parseSelection(schema, selector)), json)
    } catch (error) {
      return (error as { code?: string }).code === 'INVALID_ARGUMENT'
    }
  }), { numRuns: 500 })
  t.throws(() => parseSelection(schema, 'tasks/httpRequest/headers' + '/x'.repeat(10_000)), { code: 'INVALID_ARGUMENT' })
})

t.test("NaN and infinity are rejected in a queue's settings", async t => {
  const { http, grpc } = await serveBoth(t)
  const name = `${parent}/queues/nan`
  for (const value of ['NaN', 'Infinity', '-Infinity']) {
    for (const settings of [{ rateLimits: { maxDispatchesPerSecond: value } }, { stackdriverLoggingConfig: { samplingRatio: value } }]) {
      t.match(
        await http('POST', `/v2/${parent}/queues`, { name, ...settings }),
        { status: 400, code: 'INVALID_ARGUMENT', message: /(?:maxDispatchesPerSecond|samplingRatio) must be a number\.$/ },
        JSON.stringify(settings)
      )
    }
    t.match(
      await grpc('CreateQueue', { parent, queue: { name, rateLimits: { maxDispatchesPerSecond: Number(value) } } }),
      { code: 'INVALID_ARGUMENT', message: 'RateLimits.maxDispatchesPerSecond must be a number.' },
      value
    )
  }
})

t.test("a token of a queue's target is cleared by a mask of its fields, and replaced by the other kind", async t => {
  const { http, grpc } = await serveBoth(t)
  const tokens = {
    oidcToken: { serviceAccountEmail: 'a@x', audience: 'aud' },
    oauthToken: { serviceAccountEmail: 'b@x', scope: 'scope' }
  }
  const other = { oidcToken: ['oauthToken', 'scope'], oauthToken: ['oidcToken', 'audience'] } as const
  const target = async () => (await http('GET', `/v2/${queue}`)).body.httpTarget
  const update = async (paths: string[], httpTarget?: object) =>
    await http('PATCH', `/v2/${queue}?updateMask=${paths.map(path => `httpTarget.${path}`).join()}`, {
      ...(httpTarget === undefined ? {} : { httpTarget })
    })
  for (const kind of ['oidcToken', 'oauthToken'] as const) {
    const [otherKind, otherField] = other[kind]
    const field = kind === 'oidcToken' ? 'audience' : 'scope'
    const set = async () => { await http('PATCH', `/v2/${queue}`, { httpTarget: { httpMethod: 'PUT', [kind]: tokens[kind] } }) }
    for (const paths of [[`${kind}.serviceAccountEmail`, `${kind}.${field}`], [`${kind}.serviceAccountEmail`], [kind]]) {
      await set()
      t.match(await update(paths), { status: 200 }, paths.join())
      t.strictSame(await target(), { httpMethod: 'PUT' }, paths.join())
    }
    await set()
    t.match(await update([`${kind}.${field}`]), { status: 400, message: new RegExp(`HttpTarget.${kind}.${field} is required`) })
    t.match(await update([`${kind}.serviceAccountEmail`], { [kind]: { serviceAccountEmail: 'c@x' } }), { status: 200 })
    t.match(await target(), { [kind]: { ...tokens[kind], serviceAccountEmail: 'c@x' } }, 'one field of it is changed')
    t.match(await update([`${otherKind}.serviceAccountEmail`, `${otherKind}.${otherField}`], { [otherKind]: tokens[otherKind] }), {
      status: 200
    })
    t.strictSame(await target(), { httpMethod: 'PUT', [otherKind]: tokens[otherKind] }, 'a queue has one kind of token')
  }
  t.match(
    (
      await grpc('UpdateQueue', {
        queue: { name: queue },
        updateMask: { paths: ['http_target.oidc_token.service_account_email', 'http_target.oidc_token.audience'] }
      })
    ).body.httpTarget,
    { oidcToken: undefined }
  )
})

t.test('the paths of firebase-admin answer in the shapes of both its clients', async t => {
  const { http } = await serveBoth(t, { defaultUrl: 'http://127.0.0.1:5001/', engine: { started: false } })
  const name = `${queue}/tasks/f`
  const { body } = await http('POST', `/${queue}/tasks`, { task: { name, httpRequest: { url: '' } } })
  const plain = (await http('GET', `/v2/${name}`)).body
  t.strictSame(body, { ...plain, task: { ...plain, name: `/${name}` } })
  t.strictSame(Object.keys((await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url } } })).body).includes('task'), false)
  t.strictSame((await http('GET', `/${name}`)).body, plain)
})

async function rejected (answer: Promise<RestAnswer>): Promise<[status: number, code: string]> {
  const { status, code } = await answer
  return [status, code]
}

/** Whether `part` is `whole` less some of its keys, at any depth. */
function isPart (part: unknown, whole: unknown): boolean {
  if (Array.isArray(part)) return Array.isArray(whole) && part.every((one, index) => isPart(one, whole[index]))
  if (typeof part !== 'object' || part === null) return part === whole
  return Object.entries(part).every(([key, value]) => isPart(value, (whole as Record<string, unknown>)[key]))
}
