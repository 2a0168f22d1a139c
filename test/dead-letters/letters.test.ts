import t from 'tap'
import { copyId } from '../../lib/copies/names.js'
import { printOrigin, readOrigin } from '../../lib/copies/facts.js'
import { createDeadLetters, type DeadLettersOptions } from '../../lib/dead-letters/dead-letters.js'
import { letterOf, type DeadLetter } from '../../lib/dead-letters/letter.js'
import { fits } from '../../lib/dead-letters/selection.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import type { Listed, ListedTask, TaskContent, TaskReading } from '../../lib/transport/transport.js'

const facts = { queue: 'mail', id: 'copied', task: 'former', attempts: 3, at: 5000, error: { name: 'Error', code: 'E', message: 'no' } }
const headers = { [ORIGIN_HEADER]: printOrigin({ id: 'root', postponements: 2, letter: facts }) }

t.test('a task in the dead-letter queue is a letter, whatever its target is and whoever wrote it', async t => {
  const nameOf = (path: string) => path === '/tasks/work' ? 'work' : undefined
  const letter = {
    id: 'l', queue: 'mail', taskId: 'copied', originalId: 'root', attempts: 3, time: new Date(5000), error: facts.error
  }
  const http = { id: 'l', httpRequest: { url: 'http://x.example/tasks/work?a=1', headers } }
  t.strictSame(letterOf(http, nameOf), { ...letter, task: 'work', path: '/tasks/work' })
  const appEngine = { id: 'l', appEngineHttpRequest: { relativeUri: '/gone?a=1', headers } }
  t.strictSame(letterOf(appEngine, nameOf), { ...letter, task: 'former', path: '/gone' })

  const { id, ...original } = facts
  const first = { [ORIGIN_HEADER]: printOrigin({ id: 'root', postponements: 0, letter: original }) }
  t.equal(letterOf({ id: 'l', httpRequest: { url: 'http://x.example/', headers: first } }, nameOf).taskId, 'root')
  const nothing = { queue: undefined, taskId: undefined, attempts: undefined, time: undefined, error: undefined }
  const postponed = { [ORIGIN_HEADER]: printOrigin({ id: 'root', postponements: 1 }) }
  t.strictSame(letterOf({ id: 'l', appEngineHttpRequest: { headers: postponed } }, nameOf), {
    ...nothing, id: 'l', task: undefined, path: '/', originalId: 'root'
  })
  t.strictSame(letterOf({ id: 'l', httpRequest: { url: 'http://[' } }, nameOf), {
    ...nothing, id: 'l', task: undefined, path: 'http://[', originalId: undefined
  })
})

t.test('a letter fits a filter if it meets all its conditions', async t => {
  const letter = { task: 'work', time: new Date(5000), error: { name: 'Error', code: 'E', message: '' } } as DeadLetter
  for (const [filter, expected] of [
    [{}, true], [{ task: 'work' }, true], [{ task: 'other' }, false], [{ code: 'E' }, true], [{ code: 'F' }, false],
    [{ before: new Date(5000) }, false], [{ before: new Date(5001) }, true],
    [{ after: new Date(5000) }, true], [{ after: new Date(5001) }, false],
    [{ task: 'work', code: 'E', before: new Date(5001), after: new Date(4999) }, true], [{ task: 'work', code: 'F' }, false]
  ] as const) t.equal(fits(letter, filter), expected, JSON.stringify(filter))
  const unknown = { task: undefined, time: undefined, error: undefined } as DeadLetter
  const filters = [{}, { task: 'work' }, { code: 'E' }, { before: new Date(5001) }, { after: new Date(0) }]
  t.strictSame(filters.map(filter => fits(unknown, filter)), [true, false, false, false, false])
})

type List = (pageToken: string | undefined) => Listed

/** Dead letters on a transport of which the test decides the results, and sees the calls. */
function open (stored: ReadonlyMap<string, TaskReading>, results: { put?: object | undefined, deleted?: object, listed?: List } = {}) {
  const calls: unknown[][] = []
  const call = (name: string, result: (...args: never[]) => unknown) => async (...args: unknown[]) => {
    calls.push([name, ...args])
    return result(...args as never[])
  }
  const made: unknown[][] = []
  const letters = createDeadLetters({
    queue: 'dead',
    transport: {
      listTasks: call('list', (_queue, _size, token) => results.listed?.(token) ?? { outcome: 'listed', tasks: [], nextPageToken: undefined }),
      readTask: call('read', (_queue, id) => stored.get(id) ?? { outcome: 'notFound' }),
      putTask: call('put', () => results.put ?? { outcome: 'created', id: 'x', scheduleAt: 1 }),
      deleteTask: call('delete', () => results.deleted ?? { outcome: 'deleted' })
    } as unknown as DeadLettersOptions['transport'],
    targets: [{ name: 'work', method: 'PUT', route: '/tasks/work', queue: 'other' }],
    newTask: (route, request) => {
      made.push([route, request])
      return { httpRequest: { url: `http://new.example${route}`, headers: request.headers, body: request.body } } as never
    }
  })
  return { letters, calls, made }
}

const url = 'http://x.example/tasks/old'
const read = (rest: TaskContent): TaskReading => ({ outcome: 'read', task: { createdAt: 1, ...rest } })

t.test('a replayed letter is put into the queue of its task as a new copy, and then deleted', async t => {
  for (const put of [undefined, { outcome: 'duplicate' }]) {
    const stored = read({ httpRequest: { url, headers: { 'x-own': '1', ...headers } }, dispatchDeadlineMs: 20_000 })
    const { letters, calls } = open(new Map([['l', stored]]), { put })
    t.strictSame(await letters.replay('l'), [{ id: 'l', outcome: 'replayed' }])
    const [, queue, id, task] = calls[1] as [string, string, string, TaskContent]
    t.strictSame([queue, id, task.dispatchDeadlineMs], ['mail', copyId(['replay', 'l'], 'root'), 20_000])
    t.strictSame(readOrigin(task.httpRequest!.headers), { id: 'root', postponements: 2 }, 'it is no letter any more')
    t.equal(task.httpRequest!.headers!['x-own'], '1')
    t.strictSame([calls[0], calls[2], calls.length], [['read', 'dead', 'l'], ['delete', 'dead', 'l'], 3])
  }
})

t.test('a letter is replayed as another task by its route, with its own headers, body and deadline', async t => {
  const body = Buffer.from('x')
  for (const [stored, expected, deadline] of [
    [{ httpRequest: { url, headers: { 'x-own': '1' }, body }, dispatchDeadlineMs: 20_000 }, { headers: { 'x-own': '1' }, body }, 20_000],
    [{ appEngineHttpRequest: { headers: { 'x-own': '1' }, body } }, { headers: { 'x-own': '1' }, body }, undefined],
    [{ httpRequest: { url } }, { headers: {}, body: Buffer.alloc(0) }, undefined],
    [{}, { headers: {}, body: Buffer.alloc(0) }, undefined]
  ] as Array<[TaskContent, object, number | undefined]>) {
    const { letters, calls, made } = open(new Map([['l', read(stored)]]))
    t.strictSame(await letters.replay('l', { as: 'work' }), [{ id: 'l', outcome: 'replayed' }])
    t.strictSame(made, [['/tasks/work', { method: 'PUT', ...expected }]])
    const [, queue, id, task] = calls[1] as [string, string, string, TaskContent]
    t.strictSame([queue, id, task.dispatchDeadlineMs], ['other', copyId(['replay', 'l'], 'l'), deadline])
    t.strictSame(readOrigin(task.httpRequest!.headers), { id: 'l', postponements: 0 })
  }
})

t.test('a letter that cannot be replayed is kept, and the result says why', async t => {
  const inDead = { [ORIGIN_HEADER]: printOrigin({ id: 'root', postponements: 0, letter: { ...facts, queue: 'dead' } }) }
  const good = read({ httpRequest: { url, headers } })
  type Case = [what: string, stored: TaskReading, put: object | undefined, outcome: string, problem: RegExp | undefined, calls: number]
  const cases: Case[] = [
    ['unknown', { outcome: 'notFound' }, undefined, 'notFound', undefined, 1],
    ['gone', { outcome: 'gone' }, undefined, 'notFound', undefined, 1],
    ['not permitted', { outcome: 'denied', problem: 'lacks a permission' }, undefined, 'failed', /^lacks a permission$/, 1],
    ['unreadable', { outcome: 'failed', problem: 'no connection', cause: 0 }, undefined, 'failed', /^no connection$/, 1],
    ['without a queue', read({ httpRequest: { url } }), undefined, 'failed', /'as'/, 1],
    ['of the dead-letter queue itself', read({ httpRequest: { url, headers: inDead } }), undefined, 'failed', /'as'/, 1],
    ['refused', good, { outcome: 'closing' }, 'failed', /^the server is closing$/, 2]
  ]
  for (const [what, stored, put, outcome, problem, count] of cases) {
    const { letters, calls } = open(new Map([['l', stored]]), { put })
    const [result] = await letters.replay(['l'])
    t.strictSame([result!.id, result!.outcome, calls.length], ['l', outcome, count], what)
    if (problem === undefined) t.notOk('problem' in result!, what)
    else t.match(result!.problem, problem, what)
  }
  const kept = open(new Map([['l', good]]), { deleted: { outcome: 'closing' } })
  t.strictSame(await kept.letters.replay('l'), [{ id: 'l', outcome: 'failed', problem: 'the server is closing' }])
  const removed = open(new Map([['l', good]]), { deleted: { outcome: 'notFound' } })
  t.strictSame(await removed.letters.replay('l'), [{ id: 'l', outcome: 'replayed' }], 'its task is in its queue')
  t.strictSame(await removed.letters.discard('l'), [{ id: 'l', outcome: 'notFound' }])
  t.strictSame(await kept.letters.discard('l'), [{ id: 'l', outcome: 'failed', problem: 'the server is closing' }])
})

t.test('letters are listed by pages of 100, and selected by pages of 1000', async t => {
  const tasks: ListedTask[] = [{ id: 'l', httpRequest: { url, headers } }, { id: 'm', httpRequest: { url } }]
  const work = { id: 'n', httpRequest: { url: 'http://x.example/tasks/work' } }
  const { letters, calls } = open(new Map(), { listed: () => ({ outcome: 'listed', tasks, nextPageToken: 'next' }) })
  const page = await letters.list({ task: 'former' })
  t.strictSame([page.letters.map(({ id }) => id), page.nextPageToken], [['l'], 'next'])
  await letters.list({ pageSize: 7, pageToken: 'p' })
  const last = open(new Map(), {
    listed: token => ({ outcome: 'listed', tasks: token === undefined ? tasks : [work], nextPageToken: token === undefined ? 'more' : undefined })
  })
  const progress: unknown[] = []
  const results = await last.letters.discard({}, { onProgress: one => { progress.push(one) } })
  t.strictSame(results.map(({ id }) => id), ['l', 'm', 'n'])
  t.strictSame(progress, [{ looked: 2, done: 0 }, { looked: 3, done: 0 }, { looked: 3, done: 3 }])
  t.strictSame([...calls, ...last.calls.slice(0, 2)], [
    ['list', 'dead', 100, undefined], ['list', 'dead', 7, 'p'], ['list', 'dead', 1000, undefined], ['list', 'dead', 1000, 'more']
  ])
  t.strictSame((await last.letters.discard({ task: 'work' })).map(({ id }) => id), ['n'], 'by the path of its route')
  const failing = open(new Map(), { listed: () => ({ outcome: 'failed', problem: 'no connection', cause: 'c' }) })
  await t.rejects(failing.letters.list(), { code: 'FST_TASKS_DEAD_LETTERS_FAILED', cause: 'c' })
})

t.test('16 letters are changed at a time, each once, and the progress counts them', async t => {
  const { letters, calls } = open(new Map())
  const ids = Array.from({ length: 33 }, (_, number) => String(number))
  const progress: unknown[] = []
  t.equal((await letters.discard([...ids, ...ids], { onProgress: one => { progress.push(one) } })).length, 33)
  t.strictSame(progress, [16, 32, 33].map(done => ({ looked: done, done })))
  t.strictSame(calls.map(([, , id]) => id), ids)
})

t.test('a selection of letters that is malformed changes nothing', async t => {
  const { letters, calls } = open(new Map())
  const bad = [['a', 4], [4], 4, null, undefined, new Map(), { task: undefined }, { before: new Date(NaN) }, { after: 5 }, { tsk: 'work' }]
  for (const which of bad) await t.rejects(letters.discard(which as never), { code: 'FST_TASKS_INVALID_LETTER_QUERY' }, JSON.stringify(which))
  for (const query of [{ before: 'now' }, { after: undefined }, { pageSize: 1001 }, null]) {
    await t.rejects(letters.list(query as never), { code: 'FST_TASKS_INVALID_LETTER_QUERY' }, JSON.stringify(query))
  }
  t.strictSame(calls, [])
  t.strictSame(await letters.discard({ before: new Date(), after: new Date(0) }), [])
})
