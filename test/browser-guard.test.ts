import t from 'tap'
import { hostName, initiatorOf, isFixedName } from '../lib/browser-guard.js'

t.test('the page that initiated a request is known by Sec-Fetch-Site, or else by Origin', async t => {
  const host = 'localhost:3000'
  for (const [site, origin, initiator] of [
    [undefined, undefined, 'none'],
    [undefined, 'http://localhost:3000', 'same-origin'],
    [undefined, 'HTTPS://LocalHost:3000', 'same-origin'],
    [undefined, 'http://localhost', 'other'],
    [undefined, 'http://localhost:3001', 'other'],
    [undefined, 'http://localhost:3000/', 'other'],
    [undefined, 'xhttp://localhost:3000', 'other'],
    [undefined, 'ftp://localhost:3000', 'other'],
    [undefined, 'null', 'other'],
    [undefined, '', 'other'],
    ['same-origin', undefined, 'same-origin'],
    ['same-origin', 'http://evil.example', 'same-origin'],
    ['none', undefined, 'none'],
    ['none', 'http://localhost:3000', 'other'],
    ['cross-site', undefined, 'other'],
    ['same-site', 'http://localhost:3000', 'other'],
    ['', undefined, 'other']
  ] as const) {
    const headers = { ...(site === undefined ? {} : { 'sec-fetch-site': site }), ...(origin === undefined ? {} : { origin }) }
    t.equal(initiatorOf(headers, host), initiator, `${site} ${origin}`)
    if (site === undefined && origin !== undefined) t.equal(initiatorOf(headers, undefined), 'other')
  }
  t.equal(initiatorOf({ origin: 'http://dev.example' }, 'DEV.example'), 'same-origin')
})

t.test('the name of a host is without its port and brackets, in lower case', async t => {
  for (const [host, name] of [
    ['LOCALHOST:3000', 'localhost'], ['localhost:', 'localhost'], ['dev.example', 'dev.example'], ['[::1]:80', '::1'], ['[::1]', '::1'],
    ['1.2.3.4:5', '1.2.3.4'], ['a:1:2', 'a:1'], ['x[::1]', 'x[::1]'], ['[::1]x', '[::1]x'], ['', ''], [undefined, '']
  ] as const) t.equal(hostName(host), name)
})

t.test('no other site can take over localhost or an address by DNS', async t => {
  for (const name of ['localhost', 'dev.localhost', '127.0.0.1', '10.0.0.1', '::1', 'fe80::1']) t.equal(isFixedName(name), true)
  for (const name of ['', 'example.com', 'localhost.example', 'notlocalhost', '127.0.0.1.example', '1.2.3']) t.equal(isFixedName(name), false)
})
