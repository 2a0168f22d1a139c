import t from 'tap'
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
  t.match(await command(['--version']), { code: 0, out: /^\d+\.\d+\.\d+\S*\n$/ })
})

t.test('an unknown command suggests the nearest', async t => {
  t.match(await command(['enqeue']), { code: 2, out: '', err: /no command 'enqeue'; did you mean 'enqueue'\?/ })
  t.match(await command(['frobnicate']), { code: 2, err: /there are list, run, enqueue, queues, dead-letters, emulator/ })
  t.match(await command(['help', 'lits']), { code: 2, err: /did you mean 'list'\?/ })
  t.match(await command(['constructor']), { code: 2, err: /no command/ })
  t.match(await command(['--json', 'list']), { code: 2, err: /flags must follow the command/ })
})
