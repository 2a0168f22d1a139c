import t, { type Test } from 'tap'
import { History } from '../../../lib/console/history/history.js'
import { RowPages, type RowQuery } from '../../../lib/console/history/row-pages.js'
import { Timeline } from '../../../lib/console/history/timeline.js'
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
})
