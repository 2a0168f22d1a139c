import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import Fastify, { type FastifyPluginAsync } from 'fastify'
import t, { type Test } from 'tap'
import deadLetters from '../../lib/cli/commands/dead-letters.js'
import { printOrigin } from '../../lib/copies/facts.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import { createEmulator } from '../../lib/emulator/index.js'
import { watchAttempts } from '../support/app.js'
import { root } from '../support/compiler.js'
import { environment } from '../support/environment.js'
import { startRecordingServer } from '../support/recording-server.js'
import { IMPORTS, command, type Ended } from './terminal.js'

const CLOUD = "transport: 'cloud', project: 'demo', location: 'us-central1', auth: false, sendTimeoutSeconds: 2, " +
  "target: { type: 'http', url: 'https://worker.example.com' }, deadLetterQueue: 'dead'"
const DEAD = 'projects/demo/locations/us-central1/queues/dead'
const ONCE = "queues: { default: { retryConfig: { maxAttempts: 1 } } }, deadLetterQueue: 'dead'"

/** An app whose tasks fail. */
function source (options: string): string {
  return `${IMPORTS}
  const tasks = defineTasks({ call: { payload: Type.Any() }, mail: { payload: Type.Any() } })
  const handlers = {
    call () { throw Object.assign(new Error('no answer'), { code: 'E_DOWN' }) },
    mail () { throw new RangeError('nothing\\nworks') }
  }
  export default async app => { await app.register(cloudTasks, { tasks, handlers, ${options} }) }`
}

/** The folder of an app whose server has left a letter of `mail` and then two of `call` in the directory of its tasks. */
async function withLetters (t: Test): Promise<string> {
  const cwd = t.testdir({ 'app.js': source(`transport: 'local', local: { directory: import.meta.dirname + '/tasks' }, ${ONCE}`) })
  const { default: plugin } = await import(pathToFileURL(join(cwd, 'app.js')).href) as { default: FastifyPluginAsync }
  const attempts = watchAttempts(t)
  const app = Fastify()
  await plugin(app, {})
  const enqueue = app.enqueue as unknown as (name: string, payload: unknown) => Promise<unknown>
  await app.ready()
  for (const [at, name] of ['mail', 'call', 'call'].entries()) {
    await enqueue(name, at)
    await attempts.ended(at + 1)
  }
  await app.close()
  return cwd
}

async function listed (cwd: string): Promise<ReadonlyArray<{ readonly id: string, readonly task: string }>> {
  return JSON.parse((await command(['dead-letters', 'list', '--json'], { cwd })).out)
}

t.test('the letters in a directory are listed, replayed and discarded while its server is stopped', async t => {
  const cwd = await withLetters(t)
  const run = async (...args: string[]): Promise<Ended> => await command(['dead-letters', ...args], { cwd })
  const [latest, call, mail] = await listed(cwd)
  t.hasStrict(latest, { task: 'call', path: '/tasks/call', queue: 'default', attempts: 1, error: { name: 'Error', code: 'E_DOWN', message: 'no answer' } })

  const table = await run('list')
  t.equal(table.code, 0)
  t.match(table.out.split('\n'), [
    /^ID {2,}TASK {2}QUEUE {4}ATTEMPTS {2}ENDED {2,}ERROR$/,
    new RegExp(`^${latest!.id} +call +default +1 +\\d{4}-.*Z +Error E_DOWN: no answer$`),
    new RegExp(`^${call!.id} `),
    new RegExp(`^${mail!.id} +mail +default +1 +\\S+ +RangeError: nothing works$`),
    /^$/
  ])

  await t.test('filters choose, and a dry run changes nothing', async t => {
    t.equal((await run('list', '--task', 'none')).out, 'no dead letters\n')
    t.strictSame((await run('list', '--task', 'mail')).out.split('\n').length, 3)
    t.strictSame((await run('list', '--code', 'E_DOWN')).out.split('\n').length, 4)
    t.equal((await run('list', '--older-than', '1h')).out, 'no dead letters\n')
    t.match((await run('discard', '--task', 'call', '--dry-run')).out, /\n2 would be discarded\n$/)
    t.match(JSON.parse((await run('replay', mail!.id, '--dry-run', '--json')).out), [{ id: mail!.id }])
    t.equal((await listed(cwd)).length, 3)
  })

  await t.test('each letter gets its own line, and one that is gone ends with code 1', async t => {
    t.match(await run('replay', call!.id), { code: 0, out: `${call!.id}: replayed\n1 replayed\n` })
    t.match(await run('replay', call!.id, latest!.id, '--json'), { code: 1 })
    t.match(await run('discard', latest!.id, mail!.id), {
      code: 1,
      out: `${latest!.id}: there is no such letter\n${mail!.id}: discarded\n1 discarded, 1 not\n`
    })
    t.match(await run('discard', '--all'), { code: 0, out: '0 discarded\n' })
  })
})

t.test('what others wrote into a letter cannot command the terminal, and is replayed to a named task only', async t => {
  const emulator = createEmulator({ port: 0 })
  t.teardown(async () => { await emulator.close() })
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: new URL(await emulator.listen()).host })
  const cwd = t.testdir({ 'app.js': source(CLOUD) })
  for (const queue of [DEAD, DEAD.replace('dead', 'default')]) await emulator.engine.createQueue(queue)
  for (const queue of [DEAD, DEAD.replace('dead', 'default')]) await emulator.engine.pauseQueue(queue)
  const letter = { queue: 'default', task: '\u001b[2Jclear', attempts: 3, at: Date.UTC(2026, 0, 2), error: { name: 'E\u009b1m', message: 'a\u202eb\r\n c' } }
  const forged = printOrigin({ id: 'one', postponements: 0, letter })
  const add = async (url: string, header: string): Promise<void> => {
    await emulator.engine.createTask(DEAD, { httpRequest: { url, headers: { [ORIGIN_HEADER]: header }, body: Buffer.from('{}') } })
  }
  await add('https://worker.example.com/gone', forged)
  await add('https://worker.example.com/gone', 'no base64url')

  const { out } = await command(['dead-letters', 'list'], { cwd })
  t.match(out, String.raw`\u001b[2Jclear  default  3         2026-01-02T00:00:00.000Z  E\u009b1m: a\u202eb c`)
  t.notMatch(out, /[^\P{C}\n]/u, 'no character that a terminal obeys')
  const json = (await command(['dead-letters', 'list', '--json'], { cwd })).out
  t.notMatch(json, /[^\P{C}\n]/u)
  t.hasStrict(JSON.parse(json), [{ task: letter.task, error: letter.error }, { path: '/gone' }])

  const { code, err } = await command(['dead-letters', 'replay', '--all'], { cwd })
  t.equal(code, 1, 'one does not say where it was')
  t.match(err, /: failed: .*'as'\n$/)
  t.match(await command(['dead-letters', 'replay', '--all', '--as', 'nail'], { cwd }), { code: 1, err: /did you mean 'mail'/ })
  t.match(await command(['dead-letters', 'replay', '--all', '--as', 'mail'], { cwd }), { code: 0, out: /: replayed\n1 replayed\n$/ })
  t.strictSame(
    emulator.engine.listTasks(DEAD.replace('dead', 'default')).tasks.map(task => task.httpRequest!.url).sort(),
    ['https://worker.example.com/gone', 'https://worker.example.com/tasks/mail']
  )
})

t.test('an interruption ends between letters, with its exit code', async t => {
  const server = await startRecordingServer()
  t.teardown(async () => { await server.close() })
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: server.host })
  const cwd = t.testdir({ 'app.js': source(CLOUD) })
  const interrupted = new AbortController()
  server.reply = ({ method }) => {
    if (method === 'ListTasks') return { answer: { tasks: Array.from({ length: 400 }, (_, at) => ({ name: `${DEAD}/tasks/${at}` })) } }
    interrupted.abort('SIGINT')
    return { answer: {} }
  }
  const { code, out } = await command(['dead-letters', 'discard', '--all'], { cwd, signal: interrupted.signal })
  t.equal(code, 130)
  const deleted = server.calls.filter(call => call.method === 'DeleteTask').length
  t.ok(deleted > 0 && deleted <= 100, `${deleted} were deleted`)
  t.match(out, /\d+ discarded/)
})

t.test('a wrong command line ends with code 2, before anything is read', async t => {
  const cwd = t.testdir()
  const wrong: Array<[args: string[], err: RegExp]> = [
    [[], /'dead-letters list', 'replay' or 'discard'\?/],
    [['lsit'], /did you mean 'list'\?/],
    [['replay'], /needs ids, --all, or a filter/],
    [['discard', 'x', '--all'], /needs ids, --all, or a filter/],
    [['discard', '--all', '--task', 'x'], /needs ids, --all, or a filter/],
    [['discard', '--older-than', '2 weeks'], /'--older-than 2 weeks' must be a duration/],
    [['discard', '--all', '--as', 'x'], /'--as' is for 'replay'/],
    [['list', 'x'], /'x'/],
    [['list', '--dry-run'], /--dry-run/],
    [['list', '--all', '--code', 'x'], /mutually exclusive/]
  ]
  for (const [args, err] of wrong) t.match(await command(['dead-letters', ...args], { cwd }), { code: 2, out: '', err }, args.join(' '))
})

t.test('an app without letters that can be reached is rejected with what to do', async t => {
  const cwd = t.testdir({ 'memory.js': source(`transport: 'local', ${ONCE}`), 'none.js': source(CLOUD.replace(/deadLetterQueue.*/, '')), 'app.js': source(CLOUD) })
  t.match(await command(['dead-letters', 'list', '-a', 'memory.js'], { cwd }), { code: 1, out: '', err: /app\.tasks\.deadLetters/ })
  const server = await startRecordingServer()
  t.teardown(async () => { await server.close() })
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: server.host })
  server.reply = () => ({ code: 'PERMISSION_DENIED', details: 'no' })
  t.match(await command(['dead-letters', 'list', '-a', 'none.js'], { cwd }), { code: 1, out: '', err: /CLOUD_TASKS_DEAD_LETTER_QUEUE/ })
  const { code, err } = await command(['dead-letters', 'list'], { cwd })
  t.equal(code, 1)
  t.match(err, /roles\/cloudtasks\.viewer/)
  t.notMatch(err, /\n {4}at /)
})

t.test('docs/failures.md and the help describe every flag', t => {
  const page = readFileSync(join(root, 'docs/failures.md'), 'utf8')
  for (const flag of Object.keys(deadLetters.options)) {
    t.match(deadLetters.usage, flag === 'app' ? '-a APP' : `--${flag}`)
    t.match(deadLetters.help, new RegExp(`^ .*--${flag}\\b`, 'm'))
    if (flag !== 'app') t.match(page, new RegExp(`^\\| \`--${flag}\\b.*\\|.+\\|$`, 'm'), flag)
  }
  t.end()
})
