import t from 'tap'
import { checkHttpTarget, targetUrl, withOverrides } from '../../lib/cloud-tasks/http-target.js'
import type { HttpRequest, QueueHttpTarget, Task, UriOverride } from '../../lib/cloud-tasks/task.js'

const task: Task = {
  name: 'projects/p/locations/l/queues/q/tasks/1',
  scheduleAt: 0,
  createdAt: 0,
  dispatchCount: 1,
  responseCount: 0,
  executionCount: 0
}
const send = (request: HttpRequest, httpTarget: QueueHttpTarget): HttpRequest | undefined =>
  withOverrides({ ...task, httpRequest: request }, { httpTarget }).httpRequest
const oidcToken = { serviceAccountEmail: 'queue@p.iam', audience: 'https://a' }
const oauthToken = { serviceAccountEmail: 'queue@p.iam', scope: 'https://www.googleapis.com/auth/cloud-platform' }

t.test("a queue's token replaces a task's, of whichever kind it is", async t => {
  const own = { serviceAccountEmail: 'task@p.iam' }
  for (const given of [{ oidcToken: own }, { oauthToken: own }, {}]) {
    const request = { url: 'https://w.example/', ...given }
    t.strictSame(send(request, { oidcToken }), { url: 'https://w.example/', httpMethod: 'POST', headers: {}, oidcToken })
    t.strictSame(send(request, { oauthToken }), { url: 'https://w.example/', httpMethod: 'POST', headers: {}, oauthToken })
    t.strictSame(send(request, {}), { url: 'https://w.example/', httpMethod: 'POST', headers: {}, ...given })
  }
})

t.test("a queue's method replaces a task's, and one without a body leaves the body out", async t => {
  const body = Buffer.from('x')
  const url = 'https://w.example/'
  t.strictSame(send({ url, httpMethod: 'PUT', body }, {}), { url, httpMethod: 'PUT', headers: {}, body })
  t.strictSame(send({ url, body }, { httpMethod: 'PATCH' }), { url, httpMethod: 'PATCH', headers: {}, body })
  for (const httpMethod of ['GET', 'HEAD', 'DELETE', 'OPTIONS'] as const) {
    t.strictSame(send({ url, body }, { httpMethod }), { url, httpMethod, headers: {} })
  }
})

t.test("a queue's headers replace a task's of that name in any case, and never the user agent", async t => {
  const headers = { 'X-Own': '1', 'x-Shared': 'task', 'User-Agent': 'Google-Cloud-Tasks' }
  const headerOverrides = [{ key: 'X-SHARED', value: 'queue' }, { key: 'X-New', value: '2' }]
  t.strictSame(send({ url: 'https://w.example/', headers }, { headerOverrides })?.headers, {
    'X-Own': '1',
    'User-Agent': 'Google-Cloud-Tasks',
    'X-SHARED': 'queue',
    'X-New': '2'
  })
  t.notOk(
    'user-agent' in (send({ url: 'https://w.example/' }, { headerOverrides: [{ key: 'user-agent', value: 'curl' }] })?.headers ?? {})
  )
})

t.test("a queue's URL", async t => {
  const whole: UriOverride = { scheme: 'HTTPS', host: 'new.example', port: 8443, path: '/new', queryParams: 'b=2' }
  const url = (given: string, uriOverride: UriOverride) => send({ url: given }, { uriOverride })?.url

  t.test('replaces every part that it names', async t => {
    t.equal(url('http://old.example:81/old?a=1', whole), 'https://new.example:8443/new?b=2')
    t.equal(url('http://old.example:81/old?a=1', {}), 'http://old.example:81/old?a=1')
    t.equal(url('http://old.example:81/old?a=1', { scheme: 'HTTPS' }), 'https://old.example:81/old?a=1')
    t.equal(url('http://old.example:81/old?a=1', { host: 'new.example' }), 'http://new.example:81/old?a=1')
    t.equal(url('http://old.example:81/old?a=1', { port: 0 }), 'http://old.example/old?a=1')
    t.equal(url('http://old.example:81/old?a=1', { path: '/new' }), 'http://old.example:81/new?a=1')
    t.equal(url('http://old.example:81/old?a=1', { queryParams: 'b=2' }), 'http://old.example:81/old?b=2')
  })

  t.test('with IF_NOT_EXISTS fills in what a URL lacks, and scheme and host are always there', async t => {
    const fill = { ...whole, enforceMode: 'IF_NOT_EXISTS' } as const
    t.equal(url('http://old.example/', fill), 'http://old.example:8443/new?b=2')
    t.equal(url('http://old.example:81/old?a=1', fill), 'http://old.example:81/old?a=1')
    t.equal(url('no URL', fill), 'https://new.example:8443/new?b=2')
  })

  t.test('is where a task without one goes, if it names a host', async t => {
    t.equal(targetUrl({ uriOverride: whole }), 'https://new.example:8443/new?b=2')
    t.equal(targetUrl({ uriOverride: { host: 'new.example' } }), 'https://new.example/')
    t.equal(targetUrl({ uriOverride: { path: '/new' } }), undefined)
    t.equal(targetUrl({}), undefined)
  })
})

t.test('an App Engine task goes where its queue says', async t => {
  const appEngineRoutingOverride = { service: 'worker', version: 'v2' }
  const appEngineHttpRequest = { relativeUri: '/x', appEngineRouting: { service: 'old' } }
  t.strictSame(withOverrides({ ...task, appEngineHttpRequest }, { appEngineRoutingOverride }).appEngineHttpRequest, {
    relativeUri: '/x',
    appEngineRouting: appEngineRoutingOverride
  })
  const unchanged = { ...task, appEngineHttpRequest }
  t.equal(withOverrides(unchanged, { httpTarget: { httpMethod: 'GET' } }), unchanged)
  const http = { ...task, httpRequest: { url: 'https://w.example/' } }
  t.equal(withOverrides(http, { appEngineRoutingOverride }), http)
  t.equal(withOverrides(unchanged, {}), unchanged)
})

t.test('bad HTTP targets are rejected with the field', async t => {
  const problem = (target: QueueHttpTarget): unknown => {
    try {
      checkHttpTarget(target)
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
  for (const host of ['w.example', 'a_b', '127.0.0.1', '[::1]', '[2001:DB8::1]']) {
    t.equal(problem({ uriOverride: { host } }), undefined, host)
  }
  for (const host of ['a b', 'a/b', 'user@host', 'host:80', '::1', '[::1', '::1]', 'x[::1]', 'x@[::1]', '[::1]x', '[zz]', 'a?b', '[:::::]']) {
    t.equal(problem({ uriOverride: { host } }), 'HttpTarget.uriOverride.host is not a host name.', host)
  }
  t.equal(problem({ uriOverride: { host: '' } }), 'HttpTarget.uriOverride.host is required.')
  for (const port of [0, 1, 65_535]) t.equal(problem({ uriOverride: { port } }), undefined)
  for (const port of [-1, 65_536, 1.5]) {
    t.equal(problem({ uriOverride: { port } }), 'HttpTarget.uriOverride.port must be between 0 and 65535.')
  }
  t.equal(problem({ headerOverrides: [{ key: 'x', value: '' }] }), undefined)
  t.equal(
    problem({
      headerOverrides: [
        { key: 'x', value: '1' },
        { key: '', value: '1' }
      ]
    }),
    'HttpTarget.headerOverrides.header.key is required.'
  )
  t.equal(problem({ oidcToken }), undefined)
  t.equal(problem({ oauthToken }), undefined)
  t.equal(problem({ oidcToken: { ...oidcToken, serviceAccountEmail: '' } }), 'HttpTarget.oidcToken.serviceAccountEmail is required.')
  t.equal(problem({ oidcToken: { serviceAccountEmail: 'a' } }), 'HttpTarget.oidcToken.audience is required.')
  t.equal(problem({ oauthToken: { serviceAccountEmail: 'a', scope: '' } }), 'HttpTarget.oauthToken.scope is required.')
})
