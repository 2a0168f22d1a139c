import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { testTasks } from '../../lib/testing/index.js'
import { start, watchAttempts } from '../support/app.js'
import { PARENT, startCloudWorker } from '../support/cloud-worker.js'
import { environment } from '../support/environment.js'

const tasks = defineTasks({ work: { payload: Type.Any() }, secret: { payload: Type.Any(), deadLetterQueue: false } })
const retryConfig = { maxAttempts: 2, minBackoffSeconds: 0.001, maxBackoffSeconds: 0.001 }

/** The same app on the embedded queue and in Cloud Tasks. */
const places = {
  embedded: async (t: Test, options: Partial<CloudTasksOptions>) => {
    const { app, log } = await start(t, { tasks, deadLetterQueue: 'dead', queues: { default: { retryConfig } }, ...options } as CloudTasksOptions)
    const local = handleOf(app)!.local!
    return { app, log, engine: local.engine, parent: local.queueName('x').slice(0, -'/queues/x'.length) }
  },
  'an App Engine target, named by the environment': async (t: Test, options: Partial<CloudTasksOptions>) => {
    environment(t, { CLOUD_TASKS_DEAD_LETTER_QUEUE: 'dead' })
    const { app, log } = await start(t, { tasks, target: { type: 'appEngine' }, queues: { default: { retryConfig } }, ...options } as CloudTasksOptions)
    const local = handleOf(app)!.local!
    return { app, log, engine: local.engine, parent: local.queueName('x').slice(0, -'/queues/x'.length) }
  },
  cloud: async (t: Test, options: Partial<CloudTasksOptions>) => {
    const { app, log, emulator } = await startCloudWorker(t, { tasks, deadLetterQueue: 'dead', ...options } as CloudTasksOptions,
      { default: retryConfig, dead: { maxAttempts: -1 } }, async emulator => { await emulator.engine.pauseQueue(`${PARENT}/queues/dead`) })
    return { app, log, engine: emulator.engine, parent: PARENT }
  }
}

for (const place of Object.keys(places) as Array<keyof typeof places>) {
  t.test(`a task whose last attempt fails is kept as a dead letter, ${place}`, async t => {
    const attempts = watchAttempts(t)
    let fails = true
    const seen: unknown[] = []
    const { app, engine, parent } = await places[place](t, {
      handlers: {
        work (payload: unknown, task) {
          seen.push([payload, task.queue, task.originalId])
          if (fails) throw Object.assign(new Error(`no\nservice ${task.attempt}`), { code: 'E_DOWN' })
        },
        secret () { throw new Error('not kept') }
      }
    })
    const { id } = await app.enqueue('work', { n: 1 }, { id: 'a' })
    await app.enqueue('secret', 'x')
    await attempts.ended(4)
    const { letters, nextPageToken } = await app.tasks.deadLetters.list()
    t.equal(nextPageToken, undefined)
    t.equal(letters.length, 1)
    const [letter] = letters
    t.strictSame({ ...letter, id: '', time: undefined }, {
      id: '',
      task: 'work',
      path: '/tasks/work',
      queue: 'default',
      taskId: id,
      originalId: id,
      attempts: 2,
      time: undefined,
      error: { name: 'Error', code: 'E_DOWN', message: 'no\nservice 2' }
    })
    t.ok(Math.abs(letter!.time!.getTime() - Date.now()) < 60_000)

    await t.test('run by force it fails and stays, as the task that it was', async t => {
      attempts.ends.splice(0)
      seen.splice(0)
      const name = `${parent}/queues/dead/tasks/${letter!.id}`
      for (const n of [1, 2, 3]) {
        await engine.runTask(name)
        await attempts.ended(n)
        while (engine.running(name) > 0) await new Promise(resolve => { setImmediate(resolve) })
      }
      t.strictSame(attempts.ends.map(end => [end.id, end.queue, end.exhausted]), [1, 2, 3].map(() => [id, 'default', false]))
      t.strictSame(seen, [1, 2, 3].map(() => [{ n: 1 }, 'default', id]))
      t.strictSame((await app.tasks.deadLetters.list()).letters.map(one => one.id), [letter!.id], 'and no letter of a letter')
    })

    await t.test('replayed it runs again, and fails into another letter', async t => {
      attempts.ends.splice(0)
      t.strictSame(await app.tasks.deadLetters.replay(letter!.id), [{ id: letter!.id, outcome: 'replayed' }])
      await attempts.ended(2)
      const { letters: [second] } = await app.tasks.deadLetters.list()
      t.not(second!.id, letter!.id)
      t.strictSame([second!.originalId, second!.attempts], [id, 2])
      t.not(second!.taskId, id)
      t.strictSame(await app.tasks.deadLetters.replay(letter!.id), [{ id: letter!.id, outcome: 'notFound' }])
      fails = false
      attempts.ends.splice(0)
      t.strictSame(await app.tasks.deadLetters.replay({ task: 'work', code: 'E_DOWN' }), [{ id: second!.id, outcome: 'replayed' }])
      t.hasStrict(await attempts.ended(1), [{ result: 'done' }])
      t.strictSame((await app.tasks.deadLetters.list()).letters, [])
    })

    await t.test('filters select letters, pages and progress are reported, and discarded letters are gone', async t => {
      fails = true
      attempts.ends.splice(0)
      for (const n of [1, 2, 3]) await app.enqueue('work', n)
      await attempts.ended(6)
      const before = new Date(Date.now() - 3_600_000)
      t.strictSame(await app.tasks.deadLetters.discard({ before }), [])
      t.strictSame(await app.tasks.deadLetters.discard({ code: 'E_OTHER' }), [])
      t.equal((await app.tasks.deadLetters.list({ after: before })).letters.length, 3)
      const first = await app.tasks.deadLetters.list({ pageSize: 2 })
      const rest = await app.tasks.deadLetters.list({ pageSize: 2, pageToken: first.nextPageToken! })
      t.strictSame([first.letters.length, rest.letters.length, rest.nextPageToken], [2, 1, undefined])
      const progress: unknown[] = []
      const gone = first.letters[0]!.id
      t.strictSame(await app.tasks.deadLetters.discard(gone), [{ id: gone, outcome: 'discarded' }])
      t.strictSame(await app.tasks.deadLetters.discard([gone]), [{ id: gone, outcome: 'notFound' }])
      t.equal((await app.tasks.deadLetters.discard({}, { onProgress: one => { progress.push(one) } })).length, 2)
      t.strictSame(progress, [{ looked: 2, done: 0 }, { looked: 2, done: 2 }])
      t.strictSame((await app.tasks.deadLetters.list()).letters, [])
    })

    await t.test('what others wrote is shown, and replayed only to a task that is named', async t => {
      attempts.ends.splice(0)
      fails = false
      const forged = Buffer.from(JSON.stringify({ id: '../x', postponements: 0, letter: {} })).toString('base64url')
      const queue = `${parent}/queues/dead`
      const { target } = handleOf(app)!.config
      const url = place === 'embedded' ? 'http://localhost' : (target as { url?: string }).url
      const request = { headers: { 'content-type': 'application/json', [ORIGIN_HEADER]: forged }, body: Buffer.from('{"n":7}') }
      const { name } = await engine.createTask(queue, target.type === 'http'
        ? { httpRequest: { ...request, url: `${url}/tasks/renamed` } }
        : { appEngineHttpRequest: { ...request, relativeUri: '/tasks/renamed' } })
      const { letters: [letter] } = await app.tasks.deadLetters.list()
      t.strictSame([letter!.task, letter!.path, letter!.queue, letter!.error], [undefined, '/tasks/renamed', undefined, undefined])
      const [unnamed] = await app.tasks.deadLetters.replay(letter!.id)
      t.equal(unnamed!.outcome, 'failed')
      t.match(unnamed!.problem, /name the task to replay it as/)
      t.equal(name.endsWith(letter!.id), true)
      seen.splice(0)
      t.hasStrict(await app.tasks.deadLetters.replay({}, { as: 'work' }), [{ outcome: 'replayed' }])
      await attempts.ended(1)
      t.strictSame(seen.map(one => (one as unknown[])[0]), [{ n: 7 }])
    })
  })
}

t.test('an id that is used again fails into a letter of its own', async t => {
  const { app } = await places.embedded(t, {
    local: { taskTombstoneSeconds: 0 }, handlers: { work () { throw new Error('no') } }
  })
  const kit = testTasks(app)
  for (const n of [1, 2]) {
    t.equal((await app.enqueue('work', n, { id: 'same' })).duplicate, false)
    t.equal((await kit.drain({ scheduled: true })).length, 2)
  }
  t.equal((await app.tasks.deadLetters.list()).letters.length, 2)
})

t.test('a letter that cannot be written is logged, and the attempt is answered as before', async t => {
  const attempts = watchAttempts(t)
  const exhausted: string[] = []
  const { app, log, engine, parent } = await places.cloud(t, {
    handlers: { work () { throw new Error('no') } }, onExhausted: (_, _error, task) => { exhausted.push(task.id) }
  })
  await engine.deleteQueue(`${parent}/queues/dead`)
  const { id } = await app.enqueue('work', {})
  t.hasStrict((await attempts.ended(2))[1], { result: 'retry', status: 500, exhausted: true })
  t.strictSame(exhausted, [id])
  t.hasStrict(log.filter(line => line.msg === 'task could not be kept as a dead letter'), [{ level: 50, id, queue: 'default' }])
  await t.rejects(app.tasks.deadLetters.list(), { code: 'FST_TASKS_DEAD_LETTERS_FAILED' })
})

t.test('a payload that makes the option drop its task leaves a letter', async t => {
  const strict = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
  const { app, engine, parent } = await places.embedded(t, { tasks: strict, invalidPayload: 'drop', handlers: { work () {} } })
  const kit = testTasks(app)
  await engine.createTask(`${parent}/queues/default`, {
    httpRequest: { url: 'http://localhost/tasks/work', headers: { 'content-type': 'application/json' }, body: Buffer.from('{"n":"x"}') }
  })
  t.hasStrict(await kit.drain(), [{ result: 'dropped' }])
  t.hasStrict((await app.tasks.deadLetters.list()).letters, [{ task: 'work', error: { code: 'FST_TASKS_INVALID_PAYLOAD' } }])
})

t.test('invalid options and questions are rejected', async t => {
  const register = async (options: object) => await Fastify().register(cloudTasks, { tasks, transport: 'local', ...options } as never).ready()
  await t.rejects(register({ deadLetterQueue: 'default' }), { code: 'FST_TASKS_INVALID_OPTION', message: /the plugin's own 'queue'/ })
  await t.rejects(register({ deadLetterQueue: 'mail', queues: { mail: {} } }), { message: /the option 'queues' names/ })
  await t.rejects(register({ deadLetterQueue: 'q', tasks: { other: { payload: Type.Any(), queue: 'q' } } }), { message: /the queue of task 'other'/ })
  await t.rejects(register({ deadLetterQueue: 'no_id' }), { message: /'deadLetterQueue' must be a queue id/ })
  await t.rejects(register({ tasks: { other: { payload: Type.Any(), deadLetterQueue: 'x' } } }), { code: 'FST_TASKS_INVALID_DEFINITION' })
  const { app } = await start(t, { tasks })
  await t.rejects(app.tasks.deadLetters.list(), { code: 'FST_TASKS_NO_DEAD_LETTERS' })
  await t.rejects(app.tasks.deadLetters.discard('x'), { code: 'FST_TASKS_NO_DEAD_LETTERS' })
  const { app: kept } = await places.embedded(t, {})
  await t.rejects(kept.enqueue('work', 1, { queue: 'dead' }), {
    code: 'FST_TASKS_INVALID_ENQUEUE_OPTION', message: /'queue' is the dead-letter queue 'dead'/
  })
  for (const bad of [{ tsk: 'work' }, { task: undefined }, { before: 'now' }, null, 4]) {
    await t.rejects(kept.tasks.deadLetters.discard(bad as never), { code: 'FST_TASKS_INVALID_LETTER_QUERY' })
  }
  await t.rejects(kept.tasks.deadLetters.list({ pageSize: 0 }), { code: 'FST_TASKS_INVALID_LETTER_QUERY' })
  await t.rejects(kept.tasks.deadLetters.replay({}, { as: 'nope' as never }), { code: 'FST_TASKS_INVALID_LETTER_QUERY' })
})
