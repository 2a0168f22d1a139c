/**
 * What the verification of callers costs: a token that was never seen, one that was seen before, and the mounted route with
 * verification against the same route without, by `inject`.
 */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { systemClock } from '../../lib/clock/clock.js'
import { OidcVerifier } from '../../lib/worker/auth/oidc.js'
import { ACCOUNT, AUDIENCE, sign, startIssuer } from '../support/token-issuer.js'
import { median } from './measure.js'

const ROUNDS = 7
const TOKENS = 1000
const CALLS = 3000

const closers: Array<() => unknown> = []
const issuer = await startIssuer({ teardown: close => { closers.push(close) } })
const verifier = new OidcVerifier(
  {
    verify: 'oidc',
    issuers: ['https://accounts.google.com'],
    jwksUri: issuer.jwksUri,
    audiences: [AUDIENCE],
    emails: [ACCOUNT],
    cloudRunIam: false
  },
  { clock: systemClock }
)
closers.push(() => verifier.close())
await verifier.warmUp()

const fresh: Cost[] = []
const repeated: Cost[] = []
for (let round = 0; round < ROUNDS; round++) {
  const requests: Array<Parameters<typeof verifier.verify>[0]> = []
  for (let index = 0; index < TOKENS; index++) {
    requests.push({ headers: { authorization: `Bearer ${await sign(issuer.key, { jti: `${round}-${index}` })}` }, rawHeaders: [] })
  }
  fresh.push(await cost(TOKENS, async index => { await verifier.verify(requests[index]!) }))
  repeated.push(await cost(100 * TOKENS, async () => { await verifier.verify(requests[TOKENS - 1]!) }))
}
console.log(`verification, one after the other:
  fresh token     ${show(fresh)}
  repeated token  ${show(repeated)}`)

const withAuth = await startApp({ jwksUri: issuer.jwksUri })
const without = await startApp(false)
const authorization = `Bearer ${await sign(issuer.key)}`
const route: Record<'repeated' | 'fresh' | 'without', Cost[]> = { repeated: [], fresh: [], without: [] }
for (let round = 0; round < ROUNDS; round++) {
  const tokens: string[] = []
  for (let index = 0; index < TOKENS; index++) tokens.push(`Bearer ${await sign(issuer.key, { jti: `route-${round}-${index}` })}`)
  route.without.push(await cost(CALLS, async () => { await call(without, authorization) }))
  route.repeated.push(await cost(CALLS, async () => { await call(withAuth, authorization) }))
  route.fresh.push(await cost(TOKENS, async index => { await call(withAuth, tokens[index]!) }))
}
console.log(`the mounted route, by inject:
  without verification  ${show(route.without)}
  repeated token        ${show(route.repeated)}
  fresh token           ${show(route.fresh)}`)
for (const close of closers) await close()

/** Microseconds a call. */
interface Cost { readonly time: number, readonly cpu: number }

function show (costs: readonly Cost[]): string {
  return `${median(costs.map(one => one.time)).toFixed(1)} us, ${median(costs.map(one => one.cpu)).toFixed(1)} us CPU`
}

async function startApp (auth: false | { jwksUri: string }) {
  const app = Fastify()
  const tasks = defineTasks({ count: { payload: Type.Object({ n: Type.Integer() }) } })
  const target = { type: 'http', url: AUDIENCE, serviceAccountEmail: ACCOUNT } as const
  await app.register(cloudTasks, {
    tasks,
    handlers: { count: () => {} },
    transport: 'cloud',
    project: 'demo',
    location: 'us-central1',
    target,
    auth
  })
  await app.ready()
  closers.unshift(() => app.close())
  return app
}

async function call (app: Awaited<ReturnType<typeof startApp>>, authorization: string): Promise<void> {
  const { statusCode } = await app.inject({ method: 'POST', url: '/tasks/count', headers: { authorization }, payload: { n: 1 } })
  if (statusCode !== 204) throw new Error(`the route answered ${statusCode}`)
}

/** One after the other. */
async function cost (count: number, work: (index: number) => Promise<void>): Promise<Cost> {
  const startedAt = performance.now()
  const before = process.cpuUsage()
  for (let index = 0; index < count; index++) await work(index)
  const { user, system } = process.cpuUsage(before)
  return { time: (performance.now() - startedAt) / count * 1000, cpu: (user + system) / count }
}
