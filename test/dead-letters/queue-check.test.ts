import { Type } from '@sinclair/typebox'
import t from 'tap'
import { defineTasks } from '../../lib/index.js'
import type { Config } from '../../lib/options/config.js'
import { checkLetterQueue } from '../../lib/transport/cloud/letter-queue.js'
import type { CloudQueues, QueueFields } from '../../lib/transport/cloud/queues.js'
import { createEmulator } from '../../lib/emulator/index.js'
import { IMPORTS, command } from '../cli/terminal.js'
import type { LogLine } from '../support/app.js'
import { PARENT, startCloudWorker } from '../support/cloud-worker.js'
import { environment } from '../support/environment.js'
import { startRecordingServer } from '../support/recording-server.js'

const source = `${IMPORTS}
  const tasks = defineTasks({ work: { payload: Type.Any() } })
  export default async app => {
    await app.register(cloudTasks, {
      tasks, transport: 'cloud', project: 'demo', location: 'us-central1', auth: false, target: { type: 'http', url: 'https://worker.example.com' },
      deadLetterQueue: 'dead'
    })
  }`

t.test('queues sync creates the dead-letter queue paused, with unlimited attempts, and diff compares both', async t => {
  const emulator = createEmulator({ port: 0 })
  t.teardown(async () => { await emulator.close() })
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: new URL(await emulator.listen()).host })
  const cwd = t.testdir({ 'app.js': source })
  const queue = `${PARENT}/queues/dead`
  const run = async (action: string) => await command(['queues', action], { cwd })
  t.strictSame(await run('diff'), {
    code: 1, out: 'default: missing in Cloud Tasks\ndead: missing in Cloud Tasks (retryConfig.maxAttempts -1, state PAUSED)\n', err: ''
  })
  t.strictSame(await run('sync'), { code: 0, out: 'default: created\ndead: created (retryConfig.maxAttempts -1, state PAUSED)\n', err: '' })
  t.match(emulator.engine.getQueue(queue), { state: 'PAUSED', settings: { retryConfig: { maxAttempts: -1 } } })
  t.strictSame(await run('diff'), { code: 0, out: 'nothing differs\n', err: '' })

  await emulator.engine.resumeQueue(queue)
  t.strictSame(await run('diff'), { code: 1, out: 'dead: state is RUNNING, the app sets PAUSED\n', err: '' })
  t.strictSame(await run('sync'), { code: 0, out: 'dead: state set to PAUSED, was RUNNING\n', err: '' })
  await emulator.engine.resumeQueue(queue)
  await emulator.engine.updateQueue(queue, { retryConfig: { ...emulator.engine.getQueue(queue).settings.retryConfig, maxAttempts: 5 } })
  t.match(await run('sync'), { code: 0, out: 'dead: retryConfig.maxAttempts set to -1, was 5\ndead: state set to PAUSED, was RUNNING\n' })
  t.match(emulator.engine.getQueue(queue), { state: 'PAUSED', settings: { retryConfig: { maxAttempts: -1 } } })
})

t.test('queues diff names the permissions that its account lacks, and ends as without them', async t => {
  const server = await startRecordingServer()
  t.teardown(async () => { await server.close() })
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: server.host })
  const cwd = t.testdir({ 'app.js': source })
  let refuses = false
  server.reply = ({ method, request }) => {
    if (method === 'GetQueue') return { answer: { name: request.name, state: 'PAUSED', retryConfig: { maxAttempts: -1 } } }
    if (refuses) return { code: 'UNIMPLEMENTED', details: 'no' }
    return { answer: { permissions: request.permissions.filter((name: string) => !/fullView|list/.test(name)) } }
  }
  const { code, out, err } = await command(['queues', 'diff'], { cwd })
  t.strictSame([code, out], [0, 'nothing differs\n'])
  t.match(err, /^default: .* lacks cloudtasks\.tasks\.fullView;.*\ndead: .* lacks cloudtasks\.tasks\.fullView, cloudtasks\.tasks\.list;.*\n$/)
  refuses = true
  t.strictSame(await command(['queues', 'diff'], { cwd }), { code: 0, out: 'nothing differs\n', err: '' })
})

/** What a check logs where the queue in Cloud Tasks is like this. */
async function logged (actual: QueueFields | undefined | Error): Promise<LogLine[]> {
  const lines: LogLine[] = []
  const add = (level: number) => (fields: object, msg: string) => { lines.push({ level, msg, ...fields }) }
  const queues = {
    async read () {
      if (actual instanceof Error) throw actual
      return actual
    }
  } as unknown as CloudQueues
  const config = { deadLetterQueue: 'dead', location: 'us-central1', project: 'demo' } as Config
  await checkLetterQueue(queues, config, { warn: add(40), info: add(30) } as never, new AbortController().signal)
  return lines
}

t.test('a dead-letter queue that is missing, runs, limits attempts or cannot be read is logged at boot', async t => {
  const fields = (maxAttempts: number, state: string) => new Map<string, number | string>([['retryConfig.maxAttempts', maxAttempts], ['state', state]])
  t.strictSame(await logged(fields(-1, 'PAUSED')), [])
  const [missing, ...more] = await logged(undefined)
  t.strictSame(more, [])
  t.match(missing, { level: 40, msg: /queues sync'.*'gcloud tasks queues create dead --location=us-central1 --project=demo --max-attempts=unlimited'/ })
  t.match(await logged(fields(-1, 'RUNNING')), [{ level: 40, state: 'RUNNING', msg: /gcloud tasks queues pause dead/ }])
  t.match(await logged(fields(100, 'PAUSED')), [{ level: 40, maxAttempts: 100, msg: /queues update dead .*--max-attempts=unlimited/ }])
  t.equal((await logged(fields(100, 'RUNNING'))).length, 2)
  t.match(await logged(new Error('grant roles/cloudtasks.viewer')), [{ level: 40, msg: /grant roles\/cloudtasks\.viewer/ }])
})

const tasks = defineTasks({ work: { payload: Type.Any() } })

t.test('a worker looks at the dead-letter queue once it listens, and creates it in an emulator', async t => {
  const { emulator, log } = await startCloudWorker(t, { tasks, deadLetterQueue: 'dead', handlers: { work () {} } }, {})
  const line = async (found: RegExp): Promise<LogLine> => {
    for (;;) {
      const logged = log.find(({ msg }) => found.test(msg))
      if (logged !== undefined) return logged
      await new Promise(resolve => { setImmediate(resolve) })
    }
  }
  await line(/created in the emulator/)
  t.match(emulator.engine.getQueue(`${PARENT}/queues/dead`), { state: 'PAUSED', settings: { retryConfig: { maxAttempts: -1 } } })
  t.match(await line(/not kept as dead letters/), { level: 40, queue: 'default' }, 'whose attempts nothing limits')
})
