import { createHash } from 'node:crypto'
import { join } from 'node:path'
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { pageFolder, readPageFiles, versionOf } from '../../../lib/console/page/files.js'
import taskConsole from '../../../lib/console/plugin.js'
import { serve } from '../console-app.js'

/** The page and the URLs of all that it loads, modules that modules import included. */
async function load (app: FastifyInstance): Promise<string[]> {
  const page = await app.inject('/console/')
  const urls = new Set(
    Array.from(page.body.matchAll(/(?:src|href)="([^"]+)"/g), ([, path]) => new URL(path!, 'http://localhost/console/').pathname)
  )
  for (const url of urls) { // Grows while it is gone through.
    const { body, statusCode } = await app.inject(url)
    if (statusCode !== 200) throw new Error(`${url}: ${statusCode}`)
    for (const [, path] of body.matchAll(/\bfrom\s*["']([^"']+)["']/g)) urls.add(new URL(path!, `http://localhost${url}`).pathname)
  }
  return ['/console/', ...urls]
}

t.test('the page', async t => {
  const { app } = await serve(t)

  t.test('is served with all it needs, under a strict policy', async t => {
    const page = await app.inject('/console/')
    t.equal(page.statusCode, 200)
    t.match(page.headers, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer'
    })
    for (const [, path] of page.body.matchAll(/(?:src|href)="([^"]+)"/g)) {
      const asset = await app.inject(`/console/${path}`)
      t.equal(asset.statusCode, 200, path!)
      t.ok(asset.headers['content-security-policy'])
    }
    t.notMatch(page.body, /<script(?![^>]*src=)|\son\w+=|style=/, 'nothing is inline')
    t.match((await app.inject('/console/assets/htm-preact.js')).body, /export/)
  })

  t.test('is reached without the slash, too, by a relative way', async t => {
    t.match((await app.inject('/console')).headers, { location: 'console/' })
  })

  t.test('has no other files than its own', async t => {
    for (const path of [
      '../console.ts',
      '..%2Fconsole.ts',
      '%2e%2e/console.ts',
      'none.js',
      '.',
      '',
      'a/../../plugin.ts',
      'index.html%00.js',
      '/etc/passwd',
      'toString'
    ]) {
      t.equal((await app.inject(`/console/assets/${path}`)).statusCode, 404, path)
    }
    t.match(await (await app.inject('/console/api/none')).json(), { error: { code: 'FST_TASKS_CONSOLE_REQUEST' } })
  })

  t.test('can stand elsewhere, at the root, and twice', async t => {
    for (const [prefix, at] of [['/a/b', '/a/b'], ['/', '']] as const) {
      const { app } = await serve(t, { console: { prefix }, before: app => app.register(taskConsole, { prefix: '/second' }) })
      t.equal((await app.inject(`${at}/`)).statusCode, 200)
      t.equal((await app.inject(`${at}/api/overview`)).statusCode, 200)
      t.equal((await app.inject('/second/api/overview')).statusCode, 200)
    }
    const slashes = await serve(t, { server: { routerOptions: { ignoreTrailingSlash: true } } })
    t.equal((await slashes.app.inject('/console')).statusCode, 302)
    t.equal((await slashes.app.inject('/console/')).statusCode, 200)
  })
})

t.test('a reload of the page answers 304, and what the page loads needs no request', async t => {
  const { app } = await serve(t)
  const page = await app.inject('/console/')
  t.equal(page.headers['cache-control'], 'private, no-cache')
  t.match(page.headers.etag, /^"[\w-]{16}"$/)

  for (const tag of [page.headers.etag!, `W/${page.headers.etag}`, `"other", ${page.headers.etag}`]) {
    const again = await app.inject({ url: '/console/', headers: { 'if-none-match': tag } })
    t.equal(again.statusCode, 304, tag)
    t.equal(again.body, '')
    t.equal(again.headers.etag, page.headers.etag)
    t.ok(again.headers['content-security-policy'])
  }
  t.equal((await app.inject({ url: '/console/', headers: { 'if-none-match': '"other"' } })).statusCode, 200)

  const [, ...assets] = await load(app)
  t.ok(assets.length > 5)
  for (const url of assets) t.equal((await app.inject(url)).headers['cache-control'], 'private, max-age=31536000, immutable', url)
  t.equal((await app.inject({ method: 'HEAD', url: assets[0]! })).statusCode, 200)
})

t.test('the files of the page have types, tags by their content, and a version in the URLs of the assets', async t => {
  t.equal(pageFolder(), join(import.meta.dirname, '../../../lib/console/assets'))
  const { index, assets, version } = await readPageFiles()
  const types = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' }
  for (const [path, { type, bytes, etag }] of [...assets, ['index.html', index] as const]) {
    t.equal(type, { ...types, html: 'text/html; charset=utf-8' }[path.split('.').at(-1)!], path)
    t.equal(etag, `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 16)}"`, path)
  }
  t.strictSame([...new Set(Array.from(assets.keys(), path => path.split('.').at(-1)))].sort(), ['css', 'js', 'svg'])
  t.ok(assets.has('views/task-view.js') && assets.has('preact.js'))
  const urls = Array.from(String(index.bytes).matchAll(/(?:src|href)="([^"]+)"/g), ([, url]) => url!)
  t.ok(urls.length > 3)
  t.strictSame(urls.filter(url => !url.startsWith(`assets/${version}/`) || !assets.has(url.slice(`assets/${version}/`.length))), [])
  t.match(version, /^[\w-]{16}$/)
  t.equal((await readPageFiles()).version, version)
})

t.test('the version of the page changes with the name and the content of each asset only', async t => {
  const of = (...assets: Array<[path: string, etag: string]>) => versionOf(new Map(assets.map(([path, etag]) => [path, { etag }])))
  const version = of(['a.js', '"1"'], ['b.js', '"2"'])
  t.equal(of(['b.js', '"2"'], ['a.js', '"1"']), version)
  const others = [of(['a.js', '"3"'], ['b.js', '"2"']), of(['a.js', '"1"'], ['c.js', '"2"']), of(['a.js', '"1"']), of()]
  t.equal(new Set([version, ...others]).size, 5)
})

t.test('an asset of another version is served, and kept by no browser', async t => {
  const { app } = await serve(t)
  for (const url of ['/console/assets/0123456789abcdef/main.js', '/console/assets/main.js']) {
    const response = await app.inject(url)
    t.equal(response.statusCode, 200, url)
    t.equal(response.headers['cache-control'], 'private, no-cache', url)
    t.equal((await app.inject({ url, headers: { 'if-none-match': response.headers.etag! } })).statusCode, 304, url)
  }
  t.equal((await app.inject('/console/assets/0123456789abcdef/none.js')).statusCode, 404)
})

t.test("a rate limit of the host leaves the console's requests out, and limits the host's", async t => {
  const { app } = await serve(t, {
    async before (app) {
      // The example in the README of @fastify/rate-limit.
      await app.register(rateLimit, { max: 100, timeWindow: '1 minute' })
      app.get('/', async () => ({ hello: 'world' }))
    }
  })
  const statuses = new Set<number>()
  for (let reload = 0; reload < 5; reload++) {
    await load(app)
    for (const path of ['overview', 'tasks', 'tasks?state=ended']) statuses.add((await app.inject(`/console/api/${path}`)).statusCode)
    statuses.add((await app.inject({ method: 'POST', url: '/console/api/run', payload: {} })).statusCode)
  }
  t.strictSame([...statuses], [200, 403], 'reads are answered, and the write without a token is refused')
  for (let request = 0; request < 100; request++) statuses.add((await app.inject('/')).statusCode)
  t.strictSame([...statuses], [200, 403])
  t.equal((await app.inject('/')).statusCode, 429)
})
