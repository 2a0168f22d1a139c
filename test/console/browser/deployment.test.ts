import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import basicAuth from '@fastify/basic-auth'
import rateLimit from '@fastify/rate-limit'
import t, { type Test } from 'tap'
import { browserApp, type BrowserApp } from './app.js'
import { badge, browserTests } from './chromium.js'

const { skip, open } = browserTests(t)

let running: BrowserApp
t.before(async () => { running = await browserApp() })
t.teardown(() => running.app.close())

t.test('behind a proxy that rewrites Host, the page reads and writes', { skip }, async t => {
  const hosts = new Set<string | undefined>()
  running.app.server.on('request', ({ headers }) => { hosts.add(headers.host) })
  const page = await open(t, await proxyTo(t, running.page))
  const row = page.getByRole('row', { name: /^slow/ })
  await row.getByRole('button', { name: 'Pause queue slow' }).click()
  await badge(row, 'Paused').waitFor()
  await row.getByRole('button', { name: 'Resume queue slow' }).click()
  await badge(row, 'Running').waitFor()
  t.strictSame([...hosts], [new URL(running.page).host], 'the server never saw the address of the proxy')
})

t.test('with the password that app.basicAuth asks for, the page loads, follows what happens and writes', { skip }, async t => {
  const guarded = await browserApp({
    async prepare (app) {
      await app.register(basicAuth, {
        authenticate: true,
        async validate (user, password) { if (user !== 'ada' || password !== 'secret') throw new Error('unknown user') }
      })
      return { auth: app.basicAuth }
    }
  })
  t.teardown(() => guarded.app.close())
  const refused = await open(t, guarded.page, { httpCredentials: { username: 'ada', password: 'wrong' } })
  await refused.getByText('unknown user').waitFor()
  const page = await open(t, guarded.page, { httpCredentials: { username: 'ada', password: 'secret' } })
  await page.getByText('Live', { exact: true }).waitFor()
  const row = page.getByRole('row', { name: /^slow/ })
  await row.getByRole('button', { name: 'Pause queue slow' }).click()
  await badge(row, 'Paused').waitFor()
})

t.test("under a rate limit of the host, reloads show the page, from the browser's cache", { skip }, async t => {
  const limited = await browserApp({ async prepare (app) { await app.register(rateLimit, { max: 100, timeWindow: '1 minute' }) } })
  t.teardown(() => limited.app.close())
  const requests: string[] = []
  limited.app.server.on('request', ({ url }) => { requests.push(url!.replace(/^\/deep\/console\//, '')) })
  const page = await open(t, limited.page)
  await page.getByRole('heading', { name: 'Queues' }).waitFor()
  t.ok(requests.length > 5, 'the first load asks for everything')
  for (let reload = 0; reload < 5; reload++) {
    requests.length = 0
    await page.reload()
    await page.getByRole('heading', { name: 'Queues' }).waitFor()
    await page.getByText('Live', { exact: true }).waitFor()
    t.strictSame(requests.filter(url => !url.startsWith('api/')), [''], 'a reload asks for the page alone')
    t.ok(requests.length <= 5, requests.join(' '))
  }
})

/** Starts a proxy as nginx is by default: Host is the address of the upstream server. Returns the address of `page` through it. */
async function proxyTo (t: Test, page: string): Promise<string> {
  const { host, port, hostname, pathname } = new URL(page)
  const proxy = createServer((incoming, response) => {
    const { method, url: path, headers } = incoming
    const upstream = request({ hostname, port, method, path, headers: { ...headers, host } }, answer => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    upstream.on('error', () => { response.destroy() })
    response.on('close', () => { upstream.destroy() })
    incoming.pipe(upstream)
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  await once(proxy, 'listening')
  return `http://localhost:${(proxy.address() as AddressInfo).port}${pathname}`
}
