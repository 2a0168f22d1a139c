import t, { type Test } from 'tap'
import { CommandError } from '../../lib/cli/command.js'
import { checkPayload } from '../../lib/cli/payload.js'
import { samplePayload } from '../../lib/cli/sample-payload.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { run, validate } from '../../lib/console/invocation.js'
import { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { create } from '../support/app.js'

/** Of its payloads only `accepted` times settle. */
function unsettled (accepted: number) {
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: async (value: unknown) => --accepted >= 0 ? { value: 'validated' } : await new Promise<never>(() => value),
      jsonSchema: { input: () => ({ type: 'string' }) }
    }
  } as { readonly '~standard': { readonly types?: { readonly input: unknown, readonly output: unknown } } }
}

async function start (t: Test, accepted: number, options: Partial<CloudTasksOptions> = {}) {
  const { app } = await create(t, {
    tasks: defineTasks({ endless: { payload: unsettled(accepted) } }),
    handlers: { endless: () => { t.fail('must not run') } },
    ...options
  } as CloudTasksOptions)
  const clock = new ManualClock(Date.now())
  const handle = handleOf(app)!
  handle.clock.switchTo(clock)
  await app.ready()
  return { app, clock, handle }
}

/** How it ends once the clock has passed `ms`, and not before. */
async function endAfter (t: Test, clock: ManualClock, ms: number, work: Promise<unknown>): Promise<unknown> {
  let end: { readonly value: unknown } | undefined
  work.then(value => { end = { value } }, (error: unknown) => { end = { value: error } })
  await clock.advance(ms - 1)
  t.equal(end, undefined)
  await clock.advance(1)
  t.ok(end)
  return end?.value
}

t.test('a payload whose validator never settles', async t => {
  const { app, clock, handle } = await start(t, 0)
  const task = handle.registry.get('endless')!
  const found = { ...app.tasks.list()[0]!, registration: handle }

  for (const [what, call] of Object.entries({
    enqueue: async () => await app.enqueue('endless', 'x'),
    'app.tasks.run': async () => await app.tasks.run('endless', 'x')
  })) {
    t.test(`is rejected by ${what} after 30 seconds`, async t => {
      t.match(await endAfter(t, clock, 30_000, call()), {
        code: 'FST_TASKS_VALIDATION_TIMEOUT', statusCode: 503, explanation: /'endless' did not settle within 30 s/
      })
    })
  }

  t.test('is rejected as one of enqueueMany, and no other', async t => {
    const many = app.tasks.enqueueMany('endless', [{ payload: 'x' }, { payload: undefined }])
    t.match(await endAfter(t, clock, 30_000, many), [
      { status: 'rejected', reason: { code: 'FST_TASKS_VALIDATION_TIMEOUT' } },
      { status: 'rejected', reason: { code: 'FST_TASKS_PAYLOAD_NOT_JSON' } }
    ])
  })

  t.test("is explained in the console's form", async t => {
    const problem = { path: '', message: /'endless' did not settle within 30 s/ }
    t.match(await endAfter(t, clock, 30_000, validate(handle, 'endless', '"x"')), { ok: false, errors: [problem] })
    t.match(await endAfter(t, clock, 30_000, run(handle, 'endless', '"x"')), { outcome: 'invalid', faults: [problem] })
  })

  t.test('is explained by the command line, which shows no example of it', async t => {
    const error = await endAfter(t, clock, 30_000, checkPayload(found, 'x', 'run endless'))
    t.ok(error instanceof CommandError)
    t.match(error, { exitCode: 1, message: /'endless' did not settle within 30 s/ })
    t.equal(await endAfter(t, clock, 30_000, samplePayload(task, handle)), undefined)
  })

  t.test('leaves no timer, and ends with a server that closes', async t => {
    t.equal(clock.pending, 0)
    const enqueued = app.enqueue('endless', 'x').then(() => undefined, (error: unknown) => error)
    await clock.settle()
    t.equal(clock.pending, 1)
    await app.close()
    t.match(await enqueued, { code: 'FST_TASKS_CLOSING' })
    t.equal(clock.pending, 0)
    await t.rejects(app.enqueue('endless', 'x'), { code: 'FST_TASKS_CLOSING' })
  })
})

/** An app that has dropped a task because of its age, whose payload can no longer be validated. */
async function expired (t: Test) {
  const payloads: unknown[] = []
  const started = await start(t, 1, { closeGraceSeconds: 0, onExhausted: payload => { payloads.push(payload) } })
  const { app, clock } = started
  await app.tasks.pauseQueue()
  await app.enqueue('endless', { n: 1 })
  clock.pass(31 * 86_400_000)
  await app.tasks.resumeQueue()
  await clock.settle()
  t.strictSame(payloads, [])
  return { ...started, payloads }
}

t.test('onExhausted gets an expired payload unvalidated after 30 seconds', async t => {
  const { clock, payloads } = await expired(t)
  await clock.advance(29_999)
  t.strictSame(payloads, [])
  await clock.advance(1)
  t.strictSame(payloads, [{ n: 1 }])
})

t.test('an expired payload whose validator never settles does not hold up the close', async t => {
  const { app, clock, payloads } = await expired(t)
  const closed = app.close()
  await clock.advance(0)
  await closed
  t.strictSame(payloads, [{ n: 1 }])
})
