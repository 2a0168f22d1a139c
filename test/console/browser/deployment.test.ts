import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import basicAuth from '@fastify/basic-auth'
import rateLimit from '@fastify/rate-limit'
import t, { type Test } from 'tap'
import { engineConsole } from '../../../lib/console/plugin.js'
import { createEmulator } from '../../../lib/emulator/index.js'
import { browserApp, type BrowserApp } from './app.js'
import { badge, browserTests } from './chromium.js'

const { skip, open } = browserTests(t, { asServed: true })

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
    t.ok(requests.length <= 12, requests.join(' '))
  }
})

t.test('with the transport cloud, the page shows the attempts that the process served', { skip }, async t => {
  const cloud = await browserApp({
    console: { history: 5 },
    plugin: {
      transport: 'cloud',
      project: 'p',
      location: 'l',
      client: { createTask: async () => [{}] } as never,
      auth: false,
      target: { type: 'http', url: 'https://x.example' }
    }
  })
  t.teardown(() => cloud.app.close())
  const page = await open(t, cloud.page)
  await page.getByText('The queues of this app are in Google Cloud').waitFor()
  const response = await fetch(new URL('/tasks/flaky', cloud.page), {
    method: 'POST',
    body: '{"order":"A 42"}',
    headers: {
      'content-type': 'application/json',
      'x-cloudtasks-queuename': 'slow',
      'x-cloudtasks-taskname': 'order-42',
      'x-cloudtasks-taskretrycount': '0',
      'x-cloudtasks-taskexecutioncount': '0',
      'x-cloudtasks-tasketa': '1800000000.5'
    }
  })
  t.equal(response.status, 500)
  await page.getByRole('link', { name: /flaky/ }).click()
  await page.getByText('failed 500').waitFor()
  await page.getByText('order A 42 is not ready').first().waitFor()
  await page.getByText('asking about order A 42').waitFor()
  t.match(await page.locator('.payload pre').textContent(), '"A 42"')
  t.strictSame(await page.getByRole('group', { name: 'Task actions' }).getByRole('button').allTextContents(), [
    'Edit and run'
  ])
  await page.goto(`${cloud.page}#/tasks`)
  await page.getByRole('row', { name: /Retrying flaky/ }).waitFor()
  await page.goto(`${cloud.page}#/task?name=${encodeURIComponent('projects/p/locations/l/queues/slow/tasks/none')}`)
  await page.getByText('The latest 5 ended tasks are kept').waitFor()
})

t.test('the page of the emulator shows what a target responded', { skip }, async t => {
  const target = createServer((request, response) => {
    if (request.url === '/empty') response.end()
    else response.writeHead(500).end(request.url === '/long' ? 'x'.repeat(10_000) : '<b>out of stock</b>')
  }).listen(0, '127.0.0.1')
  await once(target, 'listening')
  const queue = 'projects/p/locations/l/queues/q'
  const emulator = createEmulator({
    port: 0,
    queues: [queue],
    plugin: engine => async app => {
      await app.register(engineConsole(engine), { prefix: '/' })
    }
  })
  t.teardown(async () => {
    await emulator.close()
    target.closeAllConnections()
    target.close()
  })
  const url = await emulator.listen()
  const page = await open(t, url)
  for (const [path, text] of [
    ['/stock', '<b>out of stock</b>'],
    ['/empty', 'No body.'],
    ['/long', 'Response of the target, the first 4 KiB']
  ] as const) {
    const task = await emulator.engine.createTask(queue, {
      httpRequest: { url: `http://127.0.0.1:${(target.address() as AddressInfo).port}${path}` }
    })
    await page.goto(`${url}/#/task?name=${encodeURIComponent(task.name)}`)
    await page.getByText(text).first().waitFor()
  }
  t.ok((await page.getByRole('group', { name: 'Response' }).first().textContent())!.length <= 4097)
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
