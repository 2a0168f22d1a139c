import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commands } from '../../lib/cli/program.js'
import { command } from './terminal.js'

t.test('the overview names every command', async t => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, out, err } = await command(args)
    t.equal(code, 0)
    for (const name of ['list', 'run', 'enqueue', 'queues', 'dead-letters', 'emulator']) t.match(out, new RegExp(`^  ${name} +\\S`, 'm'))
    t.equal(err, '')
  }
  t.match(await command([]), { code: 2, out: '', err: /^Usage: / })
})

t.test('--version is that of the package', async t => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }
  for (const flag of ['--version', '-v']) t.strictSame(await command([flag]), { code: 0, out: `${version}\n`, err: '' })
})

t.test('the help of a command is its usage and its flags, also where other arguments are wrong, but not after --', async t => {
  const { out: help } = await command(['help', 'enqueue'])
  t.match(help, /^Usage: fastify-cloud-tasks enqueue TASK .*\n\n\S/)
  t.match(help, /\S\n$/)
  for (const args of [['enqueue', '--help'], ['enqueue', 'x', 'y', 'z', '-h'], ['enqueue', '-h', '--', '-x'], ['--help', 'enqueue'], ['-h', 'enqueue']]) {
    t.strictSame(await command(args), { code: 0, out: help, err: '' }, args.join(' '))
  }
  for (const args of [['enqueue', '--', 'x', '{}', '-h'], ['list', '--', '--help']]) {
    t.match(await command(args), { code: 2, out: '', err: /^fastify-cloud-tasks: unexpected argument '-/ }, args.join(' '))
  }
})

t.test('an error that is not of the command line is shown whole, with code 1', async t => {
  const broken = { summary: 'x', load: async () => { throw new RangeError('broken') } }
  Object.assign(commands, { broken })
  t.teardown(() => { Reflect.deleteProperty(commands, 'broken') })
  t.match(await command(['broken']), { code: 1, out: '', err: /^RangeError: broken\n {4}at / })
})

t.test('an unknown command suggests the nearest', async t => {
  t.match(await command(['enqeue']), { code: 2, out: '', err: /no command 'enqeue'; did you mean 'enqueue'\?/ })
  t.match(await command(['frobnicate']), { code: 2, err: /there are list, run, enqueue, queues, dead-letters, emulator/ })
  t.match(await command(['help', 'lits']), { code: 2, err: /did you mean 'list'\?/ })
  t.match(await command(['constructor']), { code: 2, err: /no command/ })
  t.match(await command(['--json', 'list']), { code: 2, err: /flags must follow the command/ })
})
