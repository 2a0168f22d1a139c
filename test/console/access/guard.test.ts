import t from 'tap'
import type { ApiError, Overview } from '../../../lib/console/api/api.js'
import { serve } from '../console-app.js'

t.test('requests of other sites', async t => {
  const { app, read } = await serve(t, { console: { hosts: ['dev.example'] } })
  const { token } = await read<Overview>('overview')
  const send = async (headers: Record<string, string>, url = 'validate', method: 'GET' | 'POST' = 'POST') => {
    const payload = method === 'POST' ? { payload: JSON.stringify({ task: 'later', text: '{}' }) } : {}
    return await app.inject({ method, url: `/console/api/${url}`, headers, ...payload })
  }
  const status = async (...args: Parameters<typeof send>): Promise<number> => (await send(...args)).statusCode
  const good = { host: 'localhost:3000', origin: 'http://localhost:3000', 'x-console-token': token, 'content-type': 'application/json' }
  const { origin, ...noOrigin } = good

  t.test('write nothing, with or without the token', async t => {
    t.equal(await status(good), 200)
    t.equal(await status({ ...good, 'sec-fetch-site': 'same-origin' }), 200)
    t.equal(await status({ ...noOrigin, 'sec-fetch-site': 'same-origin' }), 200)
    t.equal(await status(noOrigin), 403)
    for (const bad of [
      'http://evil.example',
      'http://localhost',
      'http://localhost:3001',
      'null',
      '',
      'http://localhost:3000.evil.example',
      'file://',
      `${origin}/`
    ]) {
      t.equal(await status({ ...good, origin: bad }), 403, bad)
    }
    for (const site of ['cross-site', 'same-site', 'none', 'bogus', '', 'Same-Origin', 'same-origin, cross-site']) {
      t.equal(await status({ ...good, 'sec-fetch-site': site }), 403, site)
      t.equal(await status({ ...noOrigin, 'sec-fetch-site': site }), 403, `${site}, without Origin`)
    }
    for (const bad of ['', 'x', token.slice(1), `${token}x`, token.toUpperCase()]) {
      t.equal(await status({ ...good, 'x-console-token': bad }), 403, bad)
    }
    const { 'x-console-token': _, ...noToken } = good
    t.equal(await status({ ...noToken, 'sec-fetch-site': 'same-origin' }), 403)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp']) {
      t.equal(await status({ ...good, 'content-type': type }), 415, type)
    }
  })

  t.test("read nothing either, regardless of the app's CORS settings", async t => {
    t.equal(await status({ host: 'localhost' }, 'overview', 'GET'), 200)
    t.equal(await status({ host: 'localhost', origin: 'http://evil.example' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', origin: 'http://localhost', 'sec-fetch-site': 'cross-site' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'cross-site' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'same-site' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'none' }, 'payload?name=x', 'GET'), 400, 'an address that the user typed')
    t.equal(
      await status({ host: 'localhost', origin: 'http://localhost', 'sec-fetch-site': 'none' }, 'overview', 'GET'),
      403,
      'a navigation has no Origin'
    )
  })

  t.test('are distinguished from those of the page behind a proxy that rewrites Host', async t => {
    // nginx sends the address of the upstream server, unless it is configured otherwise.
    const behind = { ...good, host: '127.0.0.1:3000', origin: 'https://console.example' }
    t.equal(await status({ ...behind, 'sec-fetch-site': 'same-origin' }), 200)
    t.equal(await status({ ...behind, 'sec-fetch-site': 'cross-site' }), 403)
    t.equal(await status({ ...behind, 'sec-fetch-site': 'same-site' }), 403)
    t.equal(
      await status({ host: '127.0.0.1:3000', origin: 'https://console.example', 'sec-fetch-site': 'same-origin' }, 'overview', 'GET'),
      200
    )

    const refused = await send(behind)
    t.equal(refused.statusCode, 403, 'a browser that sends no Sec-Fetch-Site')
    const { error } = refused.json<{ error: ApiError }>()
    t.equal(error.code, 'FST_TASKS_FORBIDDEN')
    t.match(error.message, /behind a proxy that rewrites Host.*trustProxy/, 'it says what to change')
    t.equal(await status({ ...behind, host: 'console.example' }), 403, 'without auth the name must be allowed, too')

    const trusting = await serve(t, { console: { auth: () => {} }, server: { trustProxy: true } })
    const { token } = await trusting.read<Overview>('overview')
    const response = await trusting.app.inject({
      method: 'POST',
      url: '/console/api/validate',
      headers: { ...behind, 'x-forwarded-host': 'console.example', 'x-console-token': token },
      payload: { task: 'later', text: '{}' }
    })
    t.equal(response.statusCode, 200, 'X-Forwarded-Host of a trusted proxy is compared with Origin')
  })

  t.test('get nothing by a name that points to this machine', async t => {
    for (const host of [
      'localhost',
      'LOCALHOST:1',
      'a.localhost',
      '127.0.0.1:3000',
      '[::1]:3000',
      '192.168.0.7',
      'dev.example:3000',
      'Dev.Example'
    ]) {
      t.equal(await status({ host }, 'overview', 'GET'), 200, host)
    }
    for (const host of [
      'evil.example',
      'evil.example:3000',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'dev.example.evil',
      '0x7f.1.evil'
    ]) {
      t.equal(await status({ host }, 'overview', 'GET'), 403, host)
      t.equal(await status({ host, 'sec-fetch-site': 'same-origin' }, 'overview', 'GET'), 403, `${host}, same-origin`)
      t.equal((await app.inject({ url: '/console/', headers: { host } })).statusCode, 403, host)
    }
    const behind = await serve(t, { console: { hosts: ['dev.example'] }, server: { trustProxy: true } })
    for (const [host, forwarded, expected] of [
      ['dev.example', 'localhost', 200],
      ['localhost', 'dev.example', 200],
      ['evil.example', 'localhost', 403],
      ['localhost', 'evil.example', 403]
    ] as const) {
      const { statusCode } = await behind.app.inject({ url: '/console/api/overview', headers: { host, 'x-forwarded-host': forwarded } })
      t.equal(statusCode, expected, `Host ${host}, X-Forwarded-Host ${forwarded}`)
    }
    const guarded = await serve(t, { console: { auth: () => {} } })
    t.equal(
      (await guarded.app.inject({ url: '/console/', headers: { host: 'shop.example' } })).statusCode,
      200,
      'with auth any name is answered'
    )
  })
})
