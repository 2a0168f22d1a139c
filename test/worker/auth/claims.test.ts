import t from 'tap'
import { checkClaims } from '../../../lib/worker/auth/claims.js'

const NOW = 1_800_000_000
const callers = {
  verify: 'oidc',
  issuers: ['https://accounts.google.com', 'accounts.google.com'],
  jwksUri: 'https://keys.example.com',
  audiences: ['https://worker.example.com', 'tasks'],
  emails: ['tasks@demo.example', 'more@demo.example'],
  cloudRunIam: false
} as const
const good = { iss: 'accounts.google.com', aud: 'tasks', exp: NOW + 3600, iat: NOW, email: 'more@demo.example', email_verified: true }

/** `accepted`, `unusable` or `wrong identity`. */
function verdict (claims: unknown): string {
  const checked = checkClaims(claims, callers, NOW)
  return checked.accepted ? 'accepted' : checked.wrongIdentity ? 'wrong identity' : 'unusable'
}

t.test('claims are valid until 30 s after their expiry', async t => {
  t.strictSame(checkClaims(good, callers, NOW), { accepted: true, untilSeconds: NOW + 3630 })
})

t.test('clocks may differ by 30 s', async t => {
  for (const [claims, expected] of [
    [{ exp: NOW - 29 }, 'accepted'],
    [{ exp: NOW - 30 }, 'unusable'],
    [{ iat: NOW + 30 }, 'accepted'],
    [{ iat: NOW + 31 }, 'unusable'],
    [{ nbf: NOW + 30 }, 'accepted'],
    [{ nbf: NOW + 31 }, 'unusable'],
    [{ nbf: undefined }, 'accepted']
  ] as const) t.equal(verdict({ ...good, ...claims }), expected, JSON.stringify(claims))
})

t.test('times are finite numbers', async t => {
  for (const key of ['exp', 'iat', 'nbf']) {
    for (const time of [String(NOW), null, NaN, Infinity, -Infinity, [NOW]]) {
      t.equal(verdict({ ...good, [key]: time }), 'unusable', `${key} ${time}`)
    }
  }
  for (const key of ['exp', 'iat']) t.equal(verdict({ ...good, [key]: undefined }), 'unusable')
})

t.test('issuer, audience and account are compared exactly, and any of those that are listed is accepted', async t => {
  for (const [key, accepted, refusal] of [
    ['iss', callers.issuers, 'unusable'], ['aud', callers.audiences, 'unusable'], ['email', callers.emails, 'wrong identity']
  ] as const) {
    for (const one of accepted) {
      t.equal(verdict({ ...good, [key]: one }), 'accepted')
      for (const other of [`${one}/`, one.slice(1), one.toUpperCase(), [one], '', undefined, null]) {
        t.equal(verdict({ ...good, [key]: other }), refusal)
      }
    }
  }
  const ofAny = checkClaims({ ...good, iss: 'http://emulator' }, { ...callers, issuers: undefined }, NOW)
  t.strictSame(ofAny, { accepted: true, untilSeconds: NOW + 3630 })
})

t.test('an account counts only where it is verified', async t => {
  for (const verified of [false, 'true', 1, undefined, null]) t.equal(verdict({ ...good, email_verified: verified }), 'wrong identity')
})

t.test('claims are an object', async t => {
  for (const claims of [null, undefined, 'text', 5, [good]]) t.equal(verdict(claims), 'unusable')
})
