import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { command } from './terminal.js'

const lib = resolve(import.meta.dirname, '../../lib')
const root = resolve(lib, '..')

const folder = t.testdir({
  'package.json': '{ "type": "module" }',
  'no-plugin.js': 'export const x = 1',
  'no-tasks.js': 'export default async function () {}',
  'broken.js': 'throw new Error("broken from the start")',
  'bad.json': '{ "name": ',
  'good.json': '{ "name": "ada" }'
})
// Beside the sources, so that its imports are found.
const apps = join(root, '.tap', `cli-apps-${process.pid}`)
mkdirSync(apps, { recursive: true })
t.teardown(async () => { await (await import('node:fs/promises')).rm(apps, { recursive: true }) })
const app = join(apps, 'app.ts')
writeFileSync(app, `
import { Type } from '@sinclair/typebox'
import cloudTasks from '${lib}/index.js'
const name = Type.Object({ name: Type.String({ minLength: 2 }), email: Type.Optional(Type.String({ format: 'email' })) })
const tasks = { greet: { payload: name }, fail: { payload: name }, drop: { payload: name }, idle: { payload: name, queue: 'slow' }, hang: { payload: name }, odd: { payload: name } }
const handlers = {
  greet (payload, task) { task.log.info('greeting'); return { hello: payload.name } },
  fail () { throw new Error('no mail today') },
  drop (payload, task) { task.drop('not wanted') },
  hang (payload, task) { task.log.info('hanging'); return new Promise((resolve, reject) => { task.signal.addEventListener('abort', () => reject(task.signal.reason)) }) },
  odd () { return 10n }
}
export default async function (app) {
  app.register(cloudTasks, { tasks, handlers, transport: 'local', closeGraceSeconds: 0, local: process.env.CLI_TEST_DIRECTORY ? { directory: process.env.CLI_TEST_DIRECTORY } : {} })
}
`)

t.test('list shows every task, as a table or as JSON', async t => {
  const { code, out, err } = await command(['list', '-a', app])
  t.equal(code, 0)
  t.equal(err, '')
  t.match(out, /^NAME +METHOD +PATH +QUEUE +HANDLER\ngreet +POST +\/tasks\/greet +default +yes\n/)
  t.match(out, /\nidle +POST +\/tasks\/idle +slow +no\n/)
  const json = await command(['list', '--json', '-a', app])
  t.match(JSON.parse(json.out)[0], { name: 'greet', schema: { type: 'object' }, handler: true })
})

t.test('run prints what the handler returns, and its log on stderr', async t => {
  for (const payload of [['{"name":"ada"}'], ['--file', join(folder, 'good.json')], ['-']]) {
    const { code, out, err } = await command(['run', 'greet', ...payload, '-a', app], { input: '{"name":"ada"}' })
    t.equal(code, 0)
    t.same(JSON.parse(out), { hello: 'ada' })
    t.match(err, /"msg":"greeting"/)
  }
})

t.test('what cannot be run ends with exit code 1 and says why', async t => {
  const run = async (...args: string[]) => await command(['run', ...args, '-a', app])
  t.match(await run('fail', '{"name":"ada"}'), { code: 1, out: '', err: /Error: no mail today\n +at .*app\.ts/ })
  t.match(await run('drop', '{"name":"ada"}'), { code: 1, out: '', err: /not wanted/ })
  t.match(await run('idle', '{"name":"ada"}'), { code: 1, out: '', err: /no handler/ })
  t.match(await run('odd', '{"name":"ada"}'), { code: 1, out: '', err: /no JSON form/ })
  t.match(await run('greet', '{"name":"a"}'), { code: 1, out: '', err: /\/name/ })
  t.match(await run('greet', '{"name":'), { code: 1, out: '', err: /the payload is no JSON: .*position|end of JSON/ })
  t.match(await run('greet', '--file', join(folder, 'bad.json')), { code: 1, err: /bad\.json is no JSON/ })
  t.match(await run('greet', '--file', join(folder, 'none.json')), { code: 1, err: /cannot be read/ })
})

t.test('a wrong call ends with exit code 2 and says how to mend it', async t => {
  const run = async (...args: string[]) => await command(['run', ...args, '-a', app])
  t.match(await run(), { code: 2, err: /name a task: greet, fail/ })
  t.match(await run('gret', '{}'), { code: 2, err: /there is no task 'gret'.*'greet'/ })
  t.match(await run('greet', '{}', '--file', 'x'), { code: 2, err: /not both/ })
  t.match(await run('greet', '--fiel', 'x'), { code: 2, err: /no flag '--fiel'; did you mean '--file'/ })
  const { code, err } = await run('greet')
  t.equal(code, 2)
  t.match(err, /takes a payload, such as\n\n {2}\{"name":"text",/)
  t.match(err, /"minLength": 2/)
})

t.test('an app that cannot be used is told from one that is not there', async t => {
  const list = async (...args: string[]) => await command(['list', ...args], { cwd: folder })
  t.match(await list(), { code: 2, err: /there is no app\.js, no app\.mjs, no app\.ts/ })
  t.match(await list('-a', 'missing.js'), { code: 2, err: /there is no missing\.js/ })
  t.match(await list('-a', 'no-plugin.js'), { code: 1, err: /exports no Fastify plugin by default/ })
  t.match(await list('-a', 'no-tasks.js'), { code: 1, err: /registers no fastify-cloud-tasks/ })
  t.match(await list('-a', 'broken.js'), { code: 1, err: /broken from the start/ })
})

t.test('Ctrl-C aborts the handler', async t => {
  const interrupted = new AbortController()
  const { code } = await command(['run', 'hang', '{"name":"ada"}', '-a', app], {
    signal: interrupted.signal,
    onStderr: text => { if (text.includes('hanging')) interrupted.abort('SIGINT') }
  })
  t.equal(code, 130)
})

t.test('enqueue refuses a queue that would end with the process', async t => {
  t.match(await command(['enqueue', 'greet', '{"name":"ada"}', '-a', app]), { code: 1, out: '', err: /in memory and ends with this process/ })
  t.match(await command(['enqueue', 'greet', '{"name":"ada"}', '--delay', 'soon', '-a', app]), { code: 2, err: /--delay takes seconds/ })
})

t.test('enqueue stores in the directory and runs nothing; list and run leave the directory alone', async t => {
  const directory = join(t.testdir(), 'tasks')
  const bin = async (...args: string[]) => await promisify(execFile)(process.execPath, ['--import', 'tsx', join(lib, 'cli/main.ts'), ...args, '-a', app],
    { cwd: root, env: { ...process.env, CLI_TEST_DIRECTORY: directory } })
  await bin('list')
  t.throws(() => readdirSync(directory), { code: 'ENOENT' })
  const first = await bin('enqueue', 'greet', '{"name":"ada"}', '--id', 'one')
  t.match(JSON.parse(first.stdout), { name: 'greet', duplicate: false })
  t.notMatch(first.stderr, /greeting/)
  const second = await bin('enqueue', 'greet', '{"name":"ada"}', '--id', 'one')
  t.match(JSON.parse(second.stdout), { duplicate: true }, 'it still waits')
})
