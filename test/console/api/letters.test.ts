import t from 'tap'
import type { ApiError, LetterChange, LetterPage, Overview } from '../../../lib/console/api/api.js'
import { printOrigin } from '../../../lib/copies/facts.js'
import { ORIGIN_HEADER } from '../../../lib/delivery/headers.js'
import { handleOf } from '../../../lib/plugin-handle.js'
import { testTasks } from '../../../lib/testing/index.js'
import { HOSTILE, queue, serve, tasks } from '../console-app.js'

const plugin = { deadLetterQueue: 'dead', queues: { slow: { retryConfig: { maxAttempts: 1 } } } }

t.test('dead letters are listed, latest first, by task, code, age and page', async t => {
  const { app, enqueue, read } = await serve(t, { plugin })
  const kit = testTasks(app, tasks)
  t.equal((await read<Overview>('overview')).deadLetters, 'dead')
  for (const text of ['first', HOSTILE]) {
    await enqueue('fail', { text }, { id: text === HOSTILE ? 'b' : 'a' })
    await kit.advance(1) // so that their times differ
  }
  const { letters, nextPageToken } = await read<LetterPage>('letters')
  t.equal(nextPageToken, undefined)
  t.hasStrict(letters, [
    { task: 'fail', path: '/tasks/fail', queue: 'slow', attempts: 1, error: { name: 'Error', code: HOSTILE, message: HOSTILE } },
    { task: 'fail', error: { code: 'first' } }
  ])
  t.match(letters[0]!.taskId, /-b$/)
  t.ok(Math.abs(letters[0]!.endedAt! - Date.now()) < 60_000)

  const found = async (search: string): Promise<number> => (await read<LetterPage>(`letters?${search}`)).letters.length
  t.equal(await found('task=fail'), 2)
  t.equal(await found('task=greet'), 0)
  t.equal(await found('code=first&task='), 1)
  t.equal(await found(`endedBefore=${Date.now() + 1000}`), 2)
  t.equal(await found('endedBefore=1000'), 0)
  const first = await read<LetterPage>('letters?limit=1')
  t.equal(await found(`limit=1&pageToken=${encodeURIComponent(first.nextPageToken!)}`), 1)
})

t.test('dead letters are replayed and discarded by their ids, with a result for each', async t => {
  const { app, enqueue, read, write } = await serve(t, { plugin })
  const kit = testTasks(app, tasks)
  for (const text of ['1', '2', '3']) await enqueue('fail', { text })
  await kit.drain()
  const [one, two, three] = (await read<LetterPage>('letters')).letters.map(({ id }) => id)
  t.strictSame(await write<LetterChange>('letters/discard', { ids: [one, 'none'] }), {
    results: [{ id: one, outcome: 'discarded' }, { id: 'none', outcome: 'notFound' }]
  })
  t.strictSame(await write<LetterChange>('letters/replay', { ids: [two] }), { results: [{ id: two, outcome: 'replayed' }] })
  t.equal((await kit.drain()).length, 1)
  t.strictSame(await write<LetterChange>('letters/replay', { ids: [three], as: 'later' }), { results: [{ id: three, outcome: 'replayed' }] })
  t.hasStrict(await kit.drain(), [{ task: 'later' }])
  t.equal((await read<LetterPage>('letters')).letters.length, 1, 'the replayed one failed again')
})

t.test('untrusted facts are shown as text, and letters are replayed as another task', async t => {
  const { app, read, write } = await serve(t, { plugin })
  const letter = { queue: 'slow', task: HOSTILE, attempts: 1, at: 0, error: { name: HOSTILE, message: HOSTILE } }
  for (const header of [printOrigin({ id: 'x', postponements: 0, letter }), 'e30', HOSTILE.replaceAll(/[^ -~]/g, '')]) {
    const headers = { [ORIGIN_HEADER]: header }
    await handleOf(app)!.local!.engine.createTask(queue('dead'), { httpRequest: { url: 'http://localhost/gone', headers } })
  }
  const { letters } = await read<LetterPage>('letters')
  t.hasStrict(letters, [{ task: HOSTILE, endedAt: 0, error: { name: HOSTILE, message: HOSTILE } }, { path: '/gone' }, { path: '/gone' }])
  for (const { task, queue, error } of letters.slice(1)) t.strictSame([task, queue, error], [undefined, undefined, undefined])
  const { results } = await write<LetterChange>('letters/replay', { ids: letters.slice(1).map(({ id }) => id) })
  t.strictSame(results.map(({ outcome }) => outcome), ['failed', 'failed'])
  t.match(results[0]!.problem, "'as'")
})

t.test('malformed requests for letters are rejected, and writes without the token', async t => {
  const { app, read, write } = await serve(t, { plugin })
  const refused: Array<Promise<{ error: ApiError }>> = [
    ...['limit=0', 'limit=1001', 'limit=x', 'endedBefore=soon', 'endedBefore=-1'].map(async search => await read<{ error: ApiError }>(`letters?${search}`)),
    ...[{}, { ids: [] }, { ids: 'x' }, { ids: [1] }, { ids: ['x', 1] }, { ids: Array(101).fill('x') }, { ids: ['x'], as: 7 }].map(async body =>
      await write<{ error: ApiError }>('letters/replay', body))
  ]
  for (const { error } of await Promise.all(refused)) t.equal(error.code, 'FST_TASKS_CONSOLE_REQUEST', error.message)
  t.equal((await write<{ error: ApiError }>('letters/replay', { ids: ['x'], as: 'none' })).error.code, 'FST_TASKS_INVALID_LETTER_QUERY')
  t.equal((await write<{ error: ApiError }>('letters/discard', { ids: ['x'] }, { headers: { 'x-console-token': 'no' } })).error.code,
    'FST_TASKS_FORBIDDEN')
  t.equal((await app.inject('/console/api/letters?pageToken=bad')).statusCode, 503)
})

t.test('without a dead-letter queue the console says so', async t => {
  const { read } = await serve(t)
  t.equal((await read<Overview>('overview')).deadLetters, null)
  t.equal((await read<{ error: ApiError }>('letters')).error.code, 'FST_TASKS_NO_DEAD_LETTERS')
})
