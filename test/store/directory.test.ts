import fs, {
  constants, existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, unlinkSync, utimesSync, writeFileSync
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { createStore } from '../../lib/store/create-store.js'
import {
  DATABASES, FORMAT_VERSION, accessProblem, clearNew, completeFormat, lastRun, lastWriteAt, prepareDirectory
} from '../../lib/store/lmdb/directory.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { folder } from '../support/folder.js'

const FORMAT = `{"format":"fastify-cloud-tasks","version":${FORMAT_VERSION}`
const NEW = `${FORMAT},"state":"new"}\n`

/** Replaces a function of `node:fs`, for the code that imports it. */
function replace (t: Test, name: 'writeFileSync' | 'accessSync' | 'fsyncSync', value: (...args: never[]) => void): void {
  // After `intercept` has put the former function back: what is torn down last was registered first.
  t.teardown(syncBuiltinESMExports)
  t.intercept(fs, name, { value })
  syncBuiltinESMExports()
}

t.test('a directory becomes a store where it is missing or empty, and keeps itself out of git', async t => {
  const parent = await folder(t)
  for (const [name, before] of Object.entries<Record<string, string>>({
    missing: {},
    'below/another': {},
    'a volume': { 'lost+found': '', '.hidden': '' },
    ignored: { '.gitignore': 'mine\n' },
    'interrupted, on a full disk': { '.gitignore': '', '.format.json-draft': '{' }
  })) {
    const directory = join(parent, name)
    if (Object.keys(before).length > 0) mkdirSync(directory)
    for (const [file, text] of Object.entries(before)) writeFileSync(join(directory, file), text)
    const files = prepareDirectory(directory)
    t.strictSame(files, {
      format: join(directory, 'format.json'), data: join(directory, 'tasks.mdb'), lock: join(directory, 'owner.json')
    })
    t.equal(readFileSync(files.format, 'utf8'), NEW)
    t.equal(readFileSync(join(directory, '.gitignore'), 'utf8'), before['.gitignore'] || '*\n', name)
    t.equal(statSync(files.format).mode & 0o777, 0o600)
    t.strictSame(readdirSync(directory).sort(), [...new Set([...Object.keys(before), '.gitignore', 'format.json'])].sort())
    t.strictSame(prepareDirectory(directory), files, 'and then is one')
  }
  t.equal(statSync(join(parent, 'missing')).mode & 0o777, 0o700)
})

t.test('a directory with other files, or of another format, is refused and left as it is', async t => {
  const parent = await folder(t)
  const version = (found: unknown) => `has version ${String(found)} of the format and this release reads version ${FORMAT_VERSION}`
  let count = 0
  for (const [problem, message, before] of [
    ['foreign', 'holds other files (a, b, c);', { a: '', b: '', c: '', d: '', '.hidden': '' }],
    ['foreign', 'holds other files (tasks.mdb);', { 'tasks.mdb': '' }],
    ...['', '{', 'null', '5', '{}', '{"format":"another"}', `{"version":${FORMAT_VERSION}}`]
      .map(text => ['foreign', 'its format.json is not that of a task store', { 'format.json': text }]),
    ['version', version(FORMAT_VERSION - 1), { 'format.json': `{"format":"fastify-cloud-tasks","version":${FORMAT_VERSION - 1}}` }],
    ['version', version(undefined), { 'format.json': '{"format":"fastify-cloud-tasks"}' }]
  ] as Array<[string, string, Record<string, string>]>) {
    const directory = join(parent, String(++count))
    mkdirSync(directory)
    for (const [file, text] of Object.entries(before)) writeFileSync(join(directory, file), text)
    t.throws(() => prepareDirectory(directory), { name: 'StoreError', problem, message })
    t.strictSame(readdirSync(directory).sort(), Object.keys(before).sort())
  }
})

t.test('a directory must be readable and writable', async t => {
  const parent = await folder(t)
  const file = join(parent, 'file')
  writeFileSync(file, '')
  t.throws(() => prepareDirectory(file), { name: 'StoreError', problem: 'access', message: file })
  t.throws(() => prepareDirectory(join(file, 'below')), { name: 'StoreError', problem: 'access', message: 'ENOTDIR' })
  mkdirSync(join(parent, 'folder', 'format.json'), { recursive: true })
  t.throws(() => prepareDirectory(join(parent, 'folder')), { name: 'StoreError', problem: 'access', message: 'EISDIR' })
  // Where root may not write either.
  if (process.platform === 'linux') t.throws(() => prepareDirectory('/sys/tasks'), { name: 'StoreError', problem: 'access' })
  replace(t, 'accessSync', (path: string, mode: number) => {
    t.strictSame([path, mode], [parent, constants.R_OK | constants.W_OK | constants.X_OK])
    throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
  })
  t.throws(() => prepareDirectory(parent), { name: 'StoreError', problem: 'access', message: 'EACCES', cause: { code: 'EACCES' } })
  const problems = ['ENOSPC', 'EDQUOT', 28, 'EROFS'].map(code => {
    const cause = Object.assign(new Error('reason'), { code })
    const error = accessProblem('/d', cause)
    return [error.problem, error.cause === cause, error.message.startsWith('/d')]
  })
  t.strictSame(problems, [...Array(3).fill(['full', true, true]), ['access', true, true]])
})

t.test('a directory that is made is durable, with all on the way to it', { skip: process.platform === 'win32' }, async t => {
  const parent = await folder(t)
  const synced: string[] = []
  const { fsyncSync, fstatSync } = fs
  replace(t, 'fsyncSync', (fd: number) => {
    for (const path of [parent, join(parent, 'a'), join(parent, 'a/b')]) {
      if (existsSync(path) && statSync(path).ino === fstatSync(fd).ino) synced.push(path)
    }
    fsyncSync(fd)
  })
  const directory = join(parent, 'a/b/c')
  prepareDirectory(directory)
  t.strictSame(synced.splice(0), [join(parent, 'a/b'), join(parent, 'a'), parent])
  prepareDirectory(directory)
  t.strictSame(synced, [], 'nothing is made')
})

t.test('a store that another process completes in the meantime is not marked as new again', async t => {
  const directory = await folder(t)
  const write = fs.writeFileSync as (...args: unknown[]) => void
  const complete = `${FORMAT}}\n`
  for (const moment of ['.format', '.gitignore']) {
    t.test(`while it writes ${moment}`, async t => {
      for (const name of readdirSync(directory)) unlinkSync(join(directory, name))
      replace(t, 'writeFileSync', (...args: unknown[]) => {
        write(...args)
        if (basename(String(args[0])).startsWith(moment === '.format' ? '.format' : '..gitignore')) {
          write(join(directory, 'format.json'), complete)
        }
      })
      prepareDirectory(directory)
      t.equal(readFileSync(join(directory, 'format.json'), 'utf8'), complete)
      t.strictSame(readdirSync(directory).sort(), ['.gitignore', 'format.json'], 'no draft is left')
    })
  }
})

t.test('a start on a full disk leaves nothing behind', async t => {
  const parent = await folder(t)
  const write = fs.writeFileSync as (...args: unknown[]) => void
  let full = 'format'
  replace(t, 'writeFileSync', (...args: unknown[]) => {
    const isFull = full !== '' && String(args[0]).includes(full)
    write(args[0], isFull ? '' : args[1], args[2])
    if (isFull) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
  })
  const directory = join(parent, 'store')
  const failed = { name: 'StoreError', problem: 'full' }
  await t.rejects(new LmdbStore({ directory }).load(), failed)
  t.strictSame(readdirSync(directory), [])
  writeFileSync(join(directory, '.gitignore'), 'mine\n')
  t.throws(() => prepareDirectory(directory), failed)
  t.equal(readFileSync(join(directory, '.gitignore'), 'utf8'), 'mine\n', 'one that was there stays')
  unlinkSync(join(directory, '.gitignore'))
  full = 'gitignore'
  t.throws(() => prepareDirectory(directory), failed)
  t.strictSame(readdirSync(directory), [])
})

t.test('the last run is known from the moment when its store was complete', async t => {
  const directory = await folder(t)
  const files = prepareDirectory(directory)
  t.equal(lastRun(files), 0)
  completeFormat(files, 12)
  t.equal(lastRun(files), 12)
  t.equal(readFileSync(files.format, 'utf8'), `${FORMAT},"run":12}\n`)
  t.equal(statSync(files.format).mode & 0o777, 0o600)
})

t.test('the last write is that of the newest file with tasks', async t => {
  const directory = await folder(t)
  const write = (name: string, seconds: number): void => {
    writeFileSync(join(directory, name), '')
    utimesSync(join(directory, name), seconds, seconds)
  }
  t.equal(lastWriteAt(directory), undefined)
  write('format.json', 900)
  write('tasks.mdb-lock', 900)
  t.equal(lastWriteAt(directory), undefined)
  write('tasks.mdb', 5)
  t.equal(lastWriteAt(directory), 5000)
  write('1-a.journal', 7)
  write('1-b.journal', 6)
  t.equal(lastWriteAt(directory), 7000)
  // As one that is removed while it is looked at.
  symlinkSync(join(directory, 'none'), join(directory, '1-c.journal'))
  t.equal(lastWriteAt(directory), 7000)
})

t.test('what an interrupted first start has left is removed, up to the size that it may have', async t => {
  const directory = await folder(t)
  const files = prepareDirectory(directory)
  const left = ['1-a.journal', '1-b.journal', 'other.txt', 'owner.json', 'tasks.mdb', 'tasks.mdb-lock']
  const leave = (bytes: number): void => {
    for (const name of left) writeFileSync(join(directory, name), '')
    writeFileSync(files.data, Buffer.alloc(bytes))
  }
  for (const bytes of [0, 100, 64 * 1024]) {
    leave(bytes)
    t.equal(await clearNew(directory, files), true)
    t.strictSame(readdirSync(directory).sort(), ['.gitignore', 'format.json', 'other.txt', 'owner.json'], `${bytes} bytes`)
  }
  t.equal(await clearNew(directory, files), true, 'or nothing')
  leave(64 * 1024 + 1)
  await t.rejects(clearNew(directory, files), { name: 'StoreError', problem: 'damaged', message: directory })
  t.strictSame(readdirSync(directory).sort(), ['.gitignore', 'format.json', ...left].sort())
  completeFormat(files, 1)
  t.equal(await clearNew(directory, files), false, 'a store that is complete is left as it is')
  t.strictSame(readdirSync(directory).sort(), ['.gitignore', 'format.json', ...left].sort())
  t.equal(dirname(files.data), directory)
  t.strictSame(DATABASES, ['queues', 'tasks', 'states', 'names', 'journal'])
})

t.test('a store is in memory, or in the directory that is named', async t => {
  t.type(await createStore(undefined), MemoryStore)
  const directory = join(await folder(t), 'store')
  const store = await createStore(directory)
  t.type(store, LmdbStore)
  await store.load()
  await store.close()
  t.ok(readdirSync(directory).includes('tasks.mdb'))
})
