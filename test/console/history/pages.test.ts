import t, { type Test } from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { History } from '../../../lib/console/history/history.js'
import { RowPages, STATE_FILTERS, type RowQuery } from '../../../lib/console/history/row-pages.js'
import { Timeline } from '../../../lib/console/history/timeline.js'
import type { Engine } from '../../../lib/engine/engine.js'
import { httpRequest, parent, queue, startEngine } from '../../support/engine-harness.js'
import { watch, names } from '../../support/watched-engine.js'

t.test('pages of tasks', async t => {
  const query = (given: Partial<RowQuery>): RowQuery => ({ queue: undefined, state: 'pending', pageToken: undefined, limit: 50, ...given })
  const collect = (pages: RowPages, given: Partial<RowQuery>): string[][] => {
    const found: string[][] = []
    let pageToken: string | undefined
    do {
      const page = pages.page(query({ ...given, pageToken }))
      found.push(names(page.tasks))
      pageToken = page.nextPageToken
    } while (pageToken !== undefined && found.length < 100)
    return found
  }

  t.test('come by state, in parts, and leave nothing out', async t => {
    const { add, pages, engine, last, clock } = await watch()
    const other = `${parent}/queues/other`
    await engine.updateQueue(other)
    for (let id = 0; id < 5; id++) {
      await add(`done${id}`)
      await last().answer(200)
    }
    for (let id = 0; id < 5; id++) {
      await add(`retrying${id}`)
      await last().answer(500)
    }
    for (let id = 0; id < 3; id++) await add(`running${id}`)
    for (let id = 0; id < 5; id++) {
      await engine.createTask(other, { name: `${other}/tasks/waiting${id}`, httpRequest, scheduleAt: clock.now() + 9000 })
    }
    t.same(collect(pages, { state: 'done', limit: 2 }), [['done4', 'done3'], ['done2', 'done1'], ['done0']])
    t.same(collect(pages, { state: 'ended', limit: 5 }), [['done4', 'done3', 'done2', 'done1', 'done0']])
    t.same(collect(pages, { state: 'failed' }), [[]])
    t.same(collect(pages, { state: 'retrying', limit: 3 }), [['retrying4', 'retrying3', 'retrying2'], ['retrying1', 'retrying0']])
    t.same(collect(pages, { state: 'running' }), [['running2', 'running1', 'running0']])
    t.same(collect(pages, { state: 'running', queue: other }), [[]])
    t.same(collect(pages, { state: 'waiting', limit: 2 }).flat().sort(), ['waiting0', 'waiting1', 'waiting2', 'waiting3', 'waiting4'])
    const all = collect(pages, { limit: 4 })
    t.equal(all.flat().length, 13)
    t.ok(all.every(page => page.length <= 4))
    t.equal(collect(pages, { queue: other }).flat().length, 5)
    t.throws(() => pages.page(query({ queue: `${parent}/queues/none` })), { code: 'NOT_FOUND' })
    for (const pageToken of ['!', 'bm8', Buffer.from('null').toString('base64url')]) {
      t.throws(() => pages.page(query({ pageToken })), { code: 'FST_TASKS_INVALID_PAGE' }, pageToken)
    }
  })

  t.test('show tasks that failed before the history began', async t => {
    const { add, pages, history, last } = await watch()
    await add('old')
    await last().answer(500)
    const { engine, clock } = await startEngine({ store: (await watchStore(t)) })
    const later = new History({ history: 10, timeline: new Timeline(clock.now(), () => 0), onChange: () => {}, onQueue: () => {}, clock })
    later.complete = false
    t.same(collect(new RowPages(engine, later), { state: 'retrying' }).flat(), ['before'])
    t.same(collect(pages, { state: 'retrying' }).flat(), ['old'])
    t.ok(history.complete)
  })

  async function watchStore (t: Test) {
    const former = await startEngine()
    await former.engine.createTask(queue, { name: `${queue}/tasks/before`, httpRequest })
    await former.engine.createTask(queue, { name: `${queue}/tasks/fresh`, httpRequest, scheduleAt: former.clock.now() + 1000 })
    await former.clock.settle()
    await former.last().answer(500)
    await former.engine.close()
    t.teardown(() => former.engine.close())
    return former.store
  }

  /** Pages on an engine whose queues the test makes up: the number of waiting tasks by name. */
  function pagesOf (waiting: Record<string, number>, { complete = true, attempts = 0 } = {}) {
    const asked: unknown[][] = []
    const engine = {
      queues: () => Object.keys(waiting).map(name => ({ name })),
      listTasks: (name: string, { pageSize, pageToken }: { pageSize: number, pageToken?: string }) => {
        asked.push([name, pageSize, pageToken])
        const start = Number(pageToken ?? 0)
        const end = Math.min(start + pageSize, waiting[name]!)
        const tasks = Array.from({ length: end - start }, (_, index) => ({
          name: `${name}/tasks/${start + index}`, httpRequest, scheduleAt: 1, createdAt: 1, dispatchCount: attempts, responseCount: 0, executionCount: 0
        }))
        return { tasks, ...(end < waiting[name]! ? { nextPageToken: String(end) } : undefined) }
      }
    }
    const clock = new ManualClock()
    const history = new History({ history: 10, timeline: new Timeline(1, () => 0), onChange: () => {}, onQueue: () => {}, clock })
    history.complete = complete
    return { asked, history, pages: new RowPages(engine as unknown as Engine, history), remote: new RowPages(undefined, history) }
  }

  t.test('of all queues come in the order of their names, each page as full as it can be', async t => {
    const { asked, pages } = pagesOf({ b: 3, a: 2, c: 0 })
    t.strictSame(collect(pages, { limit: 3 }), [['0', '1', '0'], ['1', '2']])
    t.strictSame(asked, [['a', 3, undefined], ['b', 1, undefined], ['b', 3, '1'], ['c', 1, undefined]])
    const { nextPageToken } = pages.page(query({ limit: 2 }))
    t.strictSame(pagesOf({ a: 2, aa: 1, c: 1 }).pages.page(query({ pageToken: nextPageToken, limit: 5 })).tasks.map(({ queue }) => queue), ['c'])
    t.strictSame(pagesOf({ a: 2 }).pages.page(query({ pageToken: nextPageToken })), { tasks: [] }, 'the queues after it were deleted')
    t.strictSame(pagesOf({}).pages.page(query({})), { tasks: [] })
  })

  t.test('examine at most 1000 tasks, and say where to continue', async t => {
    const { asked, pages } = pagesOf({ a: 600, b: 600 }, { attempts: 1 })
    const page = pages.page(query({ state: 'waiting', limit: 100 }))
    t.strictSame([page.tasks, asked.length, asked.at(-1)], [[], 10, ['b', 100, '300']])
    t.strictSame(pages.page(query({ state: 'waiting', limit: 100, pageToken: page.nextPageToken })).nextPageToken, undefined)
    t.strictSame([asked[10], asked.length], [['b', 100, '400'], 12])
  })

  t.test('of retrying tasks come from the history, and then from the engine if the history is not complete', async t => {
    for (const complete of [true, false]) {
      const { pages, history, asked } = pagesOf({ b: 1, a: 2 }, { complete, attempts: 1 })
      for (const name of ['a/tasks/0', 'x/tasks/only']) {
        const task = { name, httpRequest, scheduleAt: 1, createdAt: 1, dispatchCount: 1, responseCount: 0, executionCount: 0 }
        history.started({ task: { ...task, lastAttempt: { scheduleAt: 1, dispatchAt: 1 } } })
        history.attempted({ attempt: { task }, result: 500, endedAt: 1, retryAt: 9 })
      }
      t.strictSame(collect(pages, { state: 'retrying', limit: 1 }).flat(), complete ? ['only', '0'] : ['only', '0', '1', '0'])
      t.equal(asked.length > 0, !complete)
      const own = pages.page(query({ state: 'retrying', queue: 'b' }))
      t.strictSame([own.tasks, own.nextPageToken === undefined], [[], complete])
    }
    t.strictSame(pagesOf({}, { complete: false }).pages.page(query({ state: 'retrying' })), { tasks: [] })
  })

  t.test('without an engine come from the history only, by the order of their last moves', async t => {
    const { remote, history } = pagesOf({})
    const task = (id: string) => ({
      name: `q/tasks/${id}`,
      httpRequest,
      scheduleAt: 1,
      dispatchCount: 1,
      responseCount: 0,
      executionCount: 0,
      lastAttempt: { scheduleAt: 1, dispatchAt: 1 }
    })
    for (const id of ['a', 'b', 'c']) history.started({ task: task(id) })
    history.attempted({ attempt: { task: task('b') }, result: 500, endedAt: 1, retryAt: 'unknown' })
    t.strictSame(collect(remote, { limit: 2 }), [['b', 'c'], ['a']])
    t.strictSame(collect(remote, { state: 'retrying' }), [['b']])
    t.strictSame(collect(remote, { state: 'running', limit: 1 }), [['c'], ['a']])
    t.throws(() => remote.page(query({ state: 'waiting' })), { code: 'FST_TASKS_CONSOLE_REQUEST' })
    t.strictSame(STATE_FILTERS.filter(state => state !== 'waiting').map(state => remote.page(query({ state })).tasks.length), [3, 1, 2, 0, 0, 0, 0, 0, 0, 0])
  })
})
