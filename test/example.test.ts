import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { transpile } from './support/transpile.js'

const run = promisify(execFile)
const files = (await readdir(join(import.meta.dirname, '../example'))).filter(file => /^\d\d-.*\.ts$/.test(file))
const checkout = t.testdir()
await transpile(checkout, ...files.map(file => join('example', file)))

/** Serves until it gets a signal; the others end by themselves. */
const SERVER = '02-server.ts'

t.test('each example runs alone and ends well', async t => {
  const ending = files.filter(file => file !== SERVER)
  t.ok(ending.length >= 10)
  // Two at a time: some only wait.
  await Promise.all([0, 1].map(async half => {
    for (const file of ending.filter((_, index) => index % 2 === half)) {
      const { stdout } = await run(process.execPath, [programOf(file)], {
        cwd: checkout,
        env: { ...process.env, NODE_OPTIONS: '' },
        timeout: 60_000
      })
      t.not(stdout.trim(), '', file)
      if (file.startsWith('01-')) t.equal(stdout.match(/ yes {2}.*(?:postponed|dead letter|replayed)/g)?.length, 3, 'postponed, kept and replayed')
    }
  }))
})

t.test('the example server accepts tasks, and ends on a signal', async t => {
  const child = execFile(process.execPath, [programOf(SERVER)], {
    cwd: checkout,
    env: { ...process.env, NODE_OPTIONS: '', PORT: '0' },
    timeout: 60_000
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise<number | null>(resolve => { child.once('exit', resolve) })
  let output = ''
  let look = (): void => {}
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', chunk => {
      output += String(chunk)
      look()
    })
  }
  const saw = (pattern: RegExp): Promise<RegExpMatchArray> => new Promise((resolve, reject) => {
    look = () => {
      const match = pattern.exec(output)
      if (match !== null) resolve(match)
    }
    look()
    ended.then(() => { reject(new Error(`the server ended with: ${output}`)) })
  })
  const base = (await saw(/curl -X POST (http:\/\/127\.0\.0\.1:\d+)[\s\S]*Ctrl-C/))[1]!
  const response = await fetch(`${base}/enqueue/greet`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"name":"Ada"}'
  })
  t.equal(response.status, 202)
  t.equal((await response.json() as { duplicate: boolean }).duplicate, false)
  await saw(/hello Ada/)
  t.equal((await fetch(`${base}/console`)).status, 200)
  t.equal(
    (
      await fetch(`${base}/tasks/greet`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"name":"Mallory"}'
      })
    ).status,
    401
  )
  child.kill('SIGTERM')
  t.equal(await ended, 0)
})

function programOf (file: string): string {
  return join(checkout, 'example', file.replace(/ts$/, 'js'))
}
