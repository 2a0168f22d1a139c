import t from 'tap'
import { AttemptWatchers, type AttemptWatcher } from '../../lib/worker/watchers.js'

const request = { method: 'POST', url: '/tasks/work', headers: { a: '1' } } as never
const attempt = { id: 'one', queue: 'q', attempt: 1, executionCount: 0, scheduledTime: new Date(0), previousResponse: undefined }
const log = (names: string) => ({ names }) as never

t.test('watchers see each step of an attempt, in the order in which they were added, until they are removed', async t => {
  const watchers = new AttemptWatchers()
  const seen: unknown[] = []
  const watcher = (name: string): AttemptWatcher => ({
    started: (...given) => { seen.push([name, ...given]) },
    logOf: (_, log) => ({ names: (log as unknown as { names: string }).names + name }) as never,
    settled: (...given) => { seen.push([name, ...given]) }
  })
  t.equal(watchers.none, true)
  const [removeA, removeB] = [watchers.add(watcher('a')), watchers.add(watcher('b'))]
  t.equal(watchers.none, false)
  const result = { result: 'done', value: 1 } as const
  const outcome = { status: 204, isLast: true }
  watchers.received(request, '{}')
  watchers.started(attempt, request)
  watchers.settled(attempt, result, outcome)
  const received = { method: 'POST', url: '/tasks/work', headers: { a: '1' }, body: '{}' }
  t.strictSame(seen.splice(0), [
    ['a', attempt, received], ['b', attempt, received], ['a', attempt, result, outcome], ['b', attempt, result, outcome]
  ])
  t.strictSame(watchers.logOf(attempt, log('')), { names: 'ab' })
  removeA()
  t.strictSame(watchers.logOf(attempt, log('')), { names: 'b' })
  removeB()
  t.equal(watchers.none, true)
  watchers.started(attempt, request)
  watchers.settled(attempt, result, outcome)
  t.strictSame([seen, watchers.logOf(attempt, log(''))], [[], { names: '' }])
})

t.test('a body is kept only while a watcher asks for requests', async t => {
  const watchers = new AttemptWatchers()
  const bodies: unknown[] = []
  const quiet: AttemptWatcher = { logOf: (_, log) => log, settled () {} }
  watchers.add(quiet)
  watchers.received(request, 'before')
  const remove = watchers.add({ ...quiet, started: (_, { body }) => { bodies.push(body) } })
  watchers.started(attempt, request)
  watchers.received(request, 'during')
  watchers.started(attempt, request)
  remove()
  const next = {} as never
  watchers.received(next, 'after')
  watchers.add({ ...quiet, started: (_, { body }) => { bodies.push(body) } })
  watchers.started(attempt, next)
  t.strictSame(bodies, [undefined, 'during', undefined])
})
