import t from 'tap'
import { SEARCH_PAGES, TaskSearch } from '../../../lib/transport/cloud/task-search.js'
import type { Listed } from '../../../lib/transport/transport.js'
import { gate } from '../../support/app.js'

const page = (ids: readonly string[], nextPageToken?: string): Listed =>
  ({ outcome: 'listed', tasks: ids.map(id => ({ id })), nextPageToken })

t.test('searches at the same time share one list, read page by page', async t => {
  const calls: unknown[] = []
  const search = new TaskSearch(async (queue, pageToken) => {
    calls.push([queue, pageToken])
    return pageToken === undefined ? page(['1-copy-a', '2-copy-b'], 'more') : page(['3-copy-c'])
  })
  const found = await Promise.all(['-copy-a', '-copy-c', '-copy-d'].map(async suffix => await search.find('q', ['-none', suffix])))
  t.strictSame(found, [{ outcome: 'found', id: '1-copy-a' }, { outcome: 'found', id: '3-copy-c' }, { outcome: 'notFound' }])
  t.strictSame(calls, [['q', undefined], ['q', 'more']])
  t.strictSame(await search.find('q', ['-copy-a']), { outcome: 'found', id: '1-copy-a' })
  t.equal(calls.length, 3, 'a later one reads again, and no further than it must')
  await search.find('other', ['x'])
  t.strictSame(calls[3], ['other', undefined])
})

t.test('a search that begins while a list is read finds what has come since', async t => {
  const tasks: string[] = []
  const { open, opened } = gate()
  const begun = gate()
  let lists = 0
  const search = new TaskSearch(async () => {
    const listed = page([...tasks])
    lists++
    begun.open()
    await opened
    return listed
  })
  const early = search.find('q', ['-copy-a'])
  await begun.opened
  tasks.push('1-copy-a')
  const late = [search.find('q', ['-copy-a']), search.find('q', ['-copy-b'])]
  open()
  t.strictSame(await early, { outcome: 'notFound' })
  t.strictSame(await Promise.all(late), [{ outcome: 'found', id: '1-copy-a' }, { outcome: 'notFound' }])
  t.equal(lists, 2)
})

t.test('a queue that is too long, or cannot be listed, is an unknown answer to all', async t => {
  let pages = 0
  const endless = new TaskSearch(async () => page(['x'], String(++pages)))
  t.hasStrict(await endless.find('q', ['-copy-a']), { outcome: 'unknown' })
  t.equal(pages, SEARCH_PAGES)
  const denied = new TaskSearch(async () => ({ outcome: 'failed', problem: 'grant it', cause: undefined }))
  t.strictSame(await Promise.all([denied.find('q', ['a']), denied.find('q', ['b'])]), Array(2).fill({ outcome: 'unknown', problem: 'grant it' }))
  const closing = new TaskSearch(async () => ({ outcome: 'closing' }))
  t.strictSame(await closing.find('q', ['a']), { outcome: 'unknown', problem: 'closing' })
})
