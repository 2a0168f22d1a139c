import t from 'tap'
import { createEmulator, type EmulatorOptions } from '../../lib/emulator/index.js'
import { emulatorConfig } from '../../lib/emulator/options.js'

const queue = 'projects/p/locations/l/queues/q'

t.test('options are checked, and a message names the option and how to fix it', async t => {
  const bad: Array<[options: object, says: string | RegExp]> = [
    [{ prot: 1 }, "did you mean 'port'?"],
    [{ port: 70_000 }, "'port' must be a whole number from 0 to 65535"],
    [{ port: '8123' }, "'port'"],
    [{ host: '' }, "'host' must not be empty"],
    [{ data: 5 }, "'data' must be a string"],
    [{ queues: 'q' }, "'queues' must be a list"],
    [{ queues: ['q'] }, 'projects/demo/locations/us-central1/queues/mail'],
    [{ queues: [`${queue}_`] }, 'letters, digits and hyphens'],
    [{ autoCreateQueues: 'yes' }, "'autoCreateQueues' must be true or false"],
    [{ appEngineUrl: '127.0.0.1:3000' }, "'appEngineUrl' must be an http:// or https:// URL"],
    [{ appEngineUrl: 'ftp://h' }, "'appEngineUrl'"],
    [{ appEngineUrl: 'http://h/?x' }, "'appEngineUrl'"],
    [{ appEngineHost: 'urls' }, "'appEngineHost' must be 'service' or 'url'; did you mean 'url'?"],
    [{ batchDuplicates: true }, "'batchDuplicates' must be 'reject' or 'report'"],
    [{ defaultUrl: '/{queue}' }, "'defaultUrl' must be an http:// or https:// URL"],
    [{ taskTombstoneSeconds: '1h' }, "'taskTombstoneSeconds' must be a number from 0 to"],
    [{ queueTombstoneSeconds: -1 }, "'queueTombstoneSeconds' must be a number"],
    [{ onError: 'x' }, "'onError' must be a function"],
    [{ logger: {} }, "'logger' must be an object with the method warn"]
  ]
  for (const [options, says] of bad) {
    t.throws(() => createEmulator(options as EmulatorOptions), { code: 'FST_TASKS_INVALID_OPTION' })
    try { createEmulator(options as EmulatorOptions) } catch (error) { t.match((error as Error).message, says) }
  }
  t.throws(() => createEmulator([] as object), { code: 'FST_TASKS_INVALID_OPTION' })
  for (const options of [
    { port: -1 }, { port: 65_536 }, { taskTombstoneSeconds: 36_525 * 86_400 + 1 }, { queues: [5] }, { allowedHosts: 'a' }, { allowedHosts: [5] },
    ...['', 'a b', 'http://a', 'a:80', 'a/'].map(name => ({ allowedHosts: ['ok', name] })), { appEngineUrl: 'http://h/#x' }, { appEngineUrl: 'xhttp://h' },
    { defaultUrl: 'http://{queue}:x/' }, { defaultUrl: 'ftp://h' }, { plugin: 5 }, { clock: {} }
  ]) t.throws(() => createEmulator(options as object), { code: 'FST_TASKS_INVALID_OPTION' }, JSON.stringify(options))
})

t.test('options that are not set have their defaults, and those at their limits are accepted', async t => {
  const { logger, onError, clock, ...defaults } = emulatorConfig({})
  t.strictSame(defaults, {
    host: '127.0.0.1',
    allowedHosts: [],
    port: 8123,
    queues: [],
    autoCreateQueues: false,
    appEngineHost: 'service',
    defaultUrl: 'http://127.0.0.1:5001/{project}/{location}/{queue}',
    batchDuplicates: 'reject',
    taskTombstoneMs: 3_600_000,
    queueTombstoneMs: 604_800_000
  })
  const given = {
    port: 65_535,
    allowedHosts: ['A_b.Example-1'],
    taskTombstoneSeconds: 36_525 * 86_400,
    queueTombstoneSeconds: 0,
    appEngineUrl: 'https://h/base',
    defaultUrl: 'HTTPS://{queue}/'
  }
  const { port, allowedHosts, taskTombstoneMs, queueTombstoneMs, appEngineUrl } = emulatorConfig(given)
  t.strictSame([port, allowedHosts, taskTombstoneMs, queueTombstoneMs, appEngineUrl], [
    65_535, ['a_b.example-1'], 36_525 * 86_400_000, 0, 'https://h/base'
  ])
  t.throws(() => emulatorConfig({ port: -1 }, key => `--${key}`), { message: /'?--port'? must be/ })
})
