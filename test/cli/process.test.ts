import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'undici'
import { transpile } from '../support/transpile.js'
import { appSource } from './terminal.js'

const cwd = t.testdir()
await transpile(join(cwd, 'checkout'))
const main = join(cwd, 'checkout/lib/cli/main.js')
const app = appSource('', join(cwd, 'checkout/lib/index.js'))
writeFileSync(join(cwd, 'app.js'), app)
writeFileSync(
  join(cwd, 'talking.js'),
  app.replace(
    'export default async function app (app) {',
    "export default async function (app) { console.log('a stray line'); setInterval(() => {}, 1000)"
  )
)

interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<{ code: number | null, out: string, err: string }>
  /** Resolves with the match as soon as stderr has it. */
  readonly printed: (pattern: RegExp) => Promise<RegExpExecArray>
}

/** The program in a process of its own. */
function start (t: Test, args: readonly string[], nodeFlags: readonly string[] = []): Running {
  const { NODE_OPTIONS, ...env } = process.env
  const child = spawn(process.execPath, [...nodeFlags, main, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => { child.kill('SIGKILL') })
  const texts = { out: '', err: '' }
  child.stdout.on('data', piece => { texts.out += piece })
  child.stderr.on('data', piece => { texts.err += piece })
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...texts }))
  return {
    child,
    ended,
    async printed (pattern) {
      for (;;) {
        const match = pattern.exec(texts.err)
        if (match !== null) return match
        await once(child.stderr, 'data')
      }
    }
  }
}

t.test('what an app prints stays off stdout, and what it leaves open does not keep the process', async t => {
  const { code, out, err } = await start(t, ['run', 'greet', '{"name":"Ada"}', '-a', 'talking.js']).ended
  t.equal(code, 0)
  t.strictSame(JSON.parse(out), { hello: 'Ada', close: 'function' })
  t.match(err, /^a stray line$/m)
})

t.test('a reader that has read enough ends it quietly', async t => {
  const { child, ended } = start(t, ['list', '--json'])
  child.stdout!.destroy()
  const { code, err } = await ended
  t.equal(code, 0)
  t.equal(err, '')
})

t.test('Ctrl-C aborts the signal of the handler, a second one ends the process', async t => {
  const first = start(t, ['run', 'wait', '{}'])
  await first.printed(/"msg":"waiting"/)
  first.child.kill('SIGINT')
  t.match(await first.ended, { code: 130, err: /"msg":"aborted"/ })

  const second = start(t, ['run', 'wait', '"forever"'])
  await second.printed(/"msg":"waiting"/)
  second.child.kill('SIGINT')
  await second.printed(/waiting for the handler/)
  second.child.kill('SIGTERM')
  t.match(await second.ended, { code: 143 })
})

t.test('--inspect-brk, as a flag here or of node, waits for a debugger', async t => {
  const own = start(t, ['run', 'greet', '{"name":"Ada"}', '--inspect-brk=0'])
  const [, url] = await own.printed(/Debugger listening on (ws:\S+)/)
  t.equal(await attach(t, url!), 1, 'it stops before the app loads')
  t.match(await own.ended, { code: 0, out: /"Ada"/ })

  const nodes = start(t, ['run', 'greet', '{"name":"Ada"}', '--inspect-brk'], ['--inspect-brk=127.0.0.1:0'])
  const [, other] = await nodes.printed(/Debugger listening on (ws:\S+)/)
  t.ok(await attach(t, other!) >= 2, 'where node stops as well')
  t.match(await nodes.ended, { code: 0, out: /"Ada"/ })
})

t.test('Ctrl-C ends it while it waits for a debugger', async t => {
  const { child, printed, ended } = start(t, ['run', 'greet', '{"name":"Ada"}', '--inspect-brk=0'])
  await printed(/waiting for the debugger/)
  child.kill('SIGINT')
  await ended
  t.equal(child.signalCode, 'SIGINT')
})

t.test('--inspect opens the inspector and goes on', async t => {
  t.match(await start(t, ['run', 'greet', '{"name":"Ada"}', '--inspect=127.0.0.1:0']).ended, {
    code: 0,
    out: /"Ada"/,
    err: /Debugger listening on ws:\/\/127\.0\.0\.1/
  })
})

/** Plays the debugger: lets the program run to its end, and resumes each time it stops. Resolves with how often it did. */
async function attach (t: Test, url: string): Promise<number> {
  const socket = new WebSocket(url)
  t.teardown(() => { socket.close() })
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => { resolve() })
    socket.addEventListener('error', reject)
  })
  let id = 0
  let paused = 0
  const send = (method: string): void => { socket.send(JSON.stringify({ id: ++id, method })) }
  return await new Promise(resolve => {
    socket.addEventListener('message', ({ data }) => {
      const { method } = JSON.parse(String(data)) as { readonly method?: string }
      if (method === 'Debugger.paused') {
        paused++
        send('Debugger.resume')
      }
      if (method !== 'Runtime.executionContextDestroyed') return
      // A process waits for its debugger to let go of it.
      socket.close()
      resolve(paused)
    })
    for (const method of ['Runtime.enable', 'Debugger.enable', 'Runtime.runIfWaitingForDebugger']) send(method)
  })
}
