import t from 'tap'
import type { Overview } from '../../lib/console/api/api.js'
import { serve } from './console-app.js'

t.test('other sites', async t => {
  const { app, read } = await serve(t, { console: { hosts: ['dev.example'] } })
  const { token } = await read<Overview>('overview')
  const status = async (headers: Record<string, string>, url = 'validate', method: 'GET' | 'POST' = 'POST'): Promise<number> => {
    const payload = method === 'POST' ? { payload: JSON.stringify({ task: 'later', text: '{}' }) } : {}
    return (await app.inject({ method, url: `/console/api/${url}`, headers, ...payload })).statusCode
  }
  const good = { host: 'localhost:3000', origin: 'http://localhost:3000', 'x-console-token': token, 'content-type': 'application/json' }

  t.test('cannot write, with or without the token', async t => {
    t.equal(await status(good), 200)
    t.equal(await status({ ...good, 'sec-fetch-site': 'same-origin' }), 200)
    const { origin, ...noOrigin } = good
    t.equal(await status({ ...noOrigin, 'sec-fetch-site': 'same-origin' }), 200)
    t.equal(await status(noOrigin), 403)
    for (const bad of ['http://evil.example', 'http://localhost', 'http://localhost:3001', 'null', '', 'http://localhost:3000.evil.example', 'file://', `${origin}/`]) {
      t.equal(await status({ ...good, origin: bad }), 403, bad)
    }
    for (const site of ['cross-site', 'same-site', 'bogus']) t.equal(await status({ ...good, 'sec-fetch-site': site }), 403, site)
    for (const bad of ['', 'x', token.slice(1), `${token}x`, token.toUpperCase()]) t.equal(await status({ ...good, 'x-console-token': bad }), 403, bad)
    const { 'x-console-token': _, ...noToken } = good
    t.equal(await status(noToken), 403)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp']) {
      t.equal(await status({ ...good, 'content-type': type }), 415, type)
    }
  })

  t.test('cannot read either, whatever the host allows', async t => {
    t.equal(await status({ host: 'localhost' }, 'overview', 'GET'), 200)
    t.equal(await status({ host: 'localhost', origin: 'http://evil.example' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'cross-site' }, 'overview', 'GET'), 403)
    t.equal(await status({ host: 'localhost', 'sec-fetch-site': 'none' }, 'payload?name=x', 'GET'), 400, 'typed into the address bar')
  })

  t.test('cannot come in by a name that they point to this machine', async t => {
    for (const host of ['localhost', 'LOCALHOST:1', 'a.localhost', '127.0.0.1:3000', '[::1]:3000', '192.168.0.7', 'dev.example:3000', 'Dev.Example']) {
      t.equal(await status({ host }, 'overview', 'GET'), 200, host)
    }
    for (const host of ['evil.example', 'evil.example:3000', 'localhost.evil.example', '127.0.0.1.evil.example', 'dev.example.evil', '0x7f.1.evil']) {
      t.equal(await status({ host }, 'overview', 'GET'), 403, host)
      t.equal((await app.inject({ url: '/console/', headers: { host } })).statusCode, 403, host)
    }
    const behind = await serve(t, { console: { hosts: ['dev.example'] }, server: { trustProxy: true } })
    for (const [host, forwarded, expected] of [['dev.example', 'localhost', 200], ['localhost', 'dev.example', 200], ['evil.example', 'localhost', 403], ['localhost', 'evil.example', 403]] as const) {
      t.equal((await behind.app.inject({ url: '/console/api/overview', headers: { host, 'x-forwarded-host': forwarded } })).statusCode, expected, `${host}, said to be ${forwarded}`)
    }
    const guarded = await serve(t, { console: { auth: () => {} } })
    t.equal((await guarded.app.inject({ url: '/console/', headers: { host: 'shop.example' } })).statusCode, 200, 'with auth any name will do')
  })
})
