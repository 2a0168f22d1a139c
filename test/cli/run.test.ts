import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { jsonFault } from '../../lib/cli/json-fault.js'
import { appSource, command, type Surroundings } from './terminal.js'

const cwd = t.testdir({ 'app.js': appSource(), 'payload.json': '{"name":"Ada"}', 'broken.json': '{\n  "name": "Ada",\n  "age": 3,\n}\n' })
const run = async (args: readonly string[], surroundings: Surroundings = {}) => await command(['run', ...args], { cwd, ...surroundings })

t.test('the return value goes to stdout as JSON, log lines to stderr', async t => {
  const { code, out, err } = await run(['greet', '{"name":"Ada"}'])
  t.equal(code, 0)
  t.strictSame(JSON.parse(out), { hello: 'Ada', close: 'function' })
  t.match(JSON.parse(err), { msg: 'greeting', task: 'greet', attempt: 1 })
  t.match(await run(['give', '"nothing"']), { code: 0, out: '' }, 'undefined prints nothing')
  t.match(await run(['give', '"null"']), { code: 0, out: 'null\n' })
})

t.test('the payload comes from the argument, stdin or a file', async t => {
  t.match(await run(['greet', '-'], { input: '\uFEFF{"name":"Bob"}\n' }), { code: 0, out: /"Bob"/ })
  t.match(await run(['greet', '--file', 'payload.json']), { code: 0, out: /"Ada"/ })
  t.match(await run(['greet', '-f', 'absent.json']), { code: 1, err: /cannot be read: ENOENT.*absent\.json/ })
  t.match(await run(['greet', '{}', '--file', 'payload.json']), { code: 2, err: /given twice/ })
  t.match(await run(['greet', '{}', '{}']), { code: 2, err: /does not know what to do with '\{\}'/ })
  t.match(await run([]), { code: 2, err: /which task\?/ })
})

t.test('what is no JSON is told with its place', async t => {
  t.match(await run(['greet', '-'], { input: '{"name": Ada}' }), { code: 1, out: '', err: /\(stdin\) is not JSON: line 1, column 10: expected a value, but there is "A"\n {2}\{"name": Ada\}\n {11}\^/ })
  t.match(await run(['greet', '--file', 'broken.json']), { code: 1, err: /line 4, column 1: expected a name in double quotes, but there is "\}"/ })
  t.match(await run(['greet', '{name:Ada}']), { code: 1, err: /column 2: .*\n.*\n.*\n\(a shell takes quotes away/ })
  t.match(await run(['greet', '-'], { input: '{"name":' }), { code: 1, err: /expected a value, but the text ends/ })
  for (const input of ['', '\n']) t.match(await run(['greet', '-'], { input }), { code: 1, out: '', err: /the payload \(stdin\) is empty; a task without data takes/ })
})

t.test('the place of a fault is found wherever JSON.parse finds one, and nowhere else', async t => {
  const json = fc.json({ maxDepth: 3 })
  const damaged = fc.tuple(json, fc.nat(), fc.constantFrom('', ',', '}', ']', '"', '\\', '\n', '0', '-', ':', 'e', '\u0007', 'nul'), fc.nat(3)).map(([text, at, piece, cut]) => {
    const place = at % (text.length + 1)
    return text.slice(0, place) + piece + text.slice(place + cut)
  })
  fc.assert(fc.property(fc.oneof(json, damaged, fc.string()), text => {
    let fails = false
    try { JSON.parse(text) } catch { fails = true }
    if ((jsonFault(text) !== undefined) !== fails) throw new Error(JSON.stringify(text))
  }), { numRuns: 3000 })
  t.strictSame(jsonFault('[1,'.repeat(100_000)), { at: 300_000, expected: 'a value' })
})

t.test('a missing payload is explained, with one that fits', async t => {
  const { code, out, err } = await run(['greet', '-a', 'app.js'])
  t.equal(code, 1)
  t.equal(out, '')
  t.match(err, /task 'greet' needs a payload/)
  t.match(err, /^ {2}name +string$/m)
  t.match(err, /^ {2}email +string \(email\) optional$/m)
  const [, example = ''] = /^ {2}fastify-cloud-tasks run greet -a app\.js '(.+)'$/m.exec(err) ?? []
  t.match(await run(['greet', example]), { code: 0 })
})

t.test('a payload that does not fit is told field by field', async t => {
  const { code, out, err } = await run(['greet', '{"name":"A","email":"nowhere"}'])
  t.equal(code, 1)
  t.equal(out, '')
  t.match(err, /does not fit the schema of task 'greet':\n {2}name {2}must NOT have fewer than 2 characters\nThis one fits:/)
  t.match((await run(['greet', '{"name":"Ada","email":"nowhere"}'])).err, /^ {2}email {2}must match format "email"$/m)
  t.match((await run(['greet', '{}'])).err, /^ {2}name {2}must have required property 'name'$/m)
  t.match((await run(['greet', '3'])).err, /^ {2}\(payload\) {2}must be object$/m)
})

t.test('an unknown task suggests the nearest, and one without a handler says so', async t => {
  t.match(await run(['gret', '{}']), { code: 1, err: /no task 'gret'; did you mean 'greet'\?/ })
  t.match(await run(['something-else', '{}']), { code: 1, err: /there are greet, fail/ })
  t.match(await run(['no-handler', '{}']), { code: 1, err: /'no-handler' has no handler/ })
})

t.test('an error keeps its stack, its lines and its cause, and ends with code 1', async t => {
  const { code, out, err } = await run(['fail', '{}'])
  t.equal(code, 1)
  t.equal(out, '')
  t.match(err, /^RangeError: nothing works\n +at .*fail.*app\.js:\d+/m)
  t.match(err, /\[cause\]: Error: the reason/)
})

t.test('a task that its handler dropped ends with code 3 and one line', async t => {
  const { code, out, err } = await run(['drop', '{}'])
  t.equal(code, 3)
  t.equal(out, '')
  t.equal(err, "fastify-cloud-tasks: Task 'drop' was dropped: not wanted any more\n")
})

t.test('a return value without JSON text is a clear error', async t => {
  t.match(await run(['give', '"circle"']), { code: 1, out: '', err: /returned, but what it returned has no JSON text: .*circular/i })
  t.match(await run(['give', '"big"']), { code: 1, out: '', err: /BigInt/ })
  t.match(await run(['give', '"function"']), { code: 1, out: '', err: /a function has no JSON text/ })
})

t.test('an interrupt aborts task.signal, and the handler may clean up', async t => {
  const controller = new AbortController()
  const { code, err } = await run(['wait', '{}'], {
    signal: controller.signal, onStderr: text => { if (text.includes('"waiting"')) controller.abort('SIGINT') }
  })
  t.equal(code, 130)
  t.match(err, /task\.signal has aborted; waiting for the handler/)
  t.match(err, /"msg":"aborted"/)
  t.match(err, /FST_TASKS_ABORTED/)
})

t.test('a handler that does not heed its signal is given up when the grace period of the app has passed', async t => {
  writeFileSync(join(cwd, 'impatient.js'), appSource('closeGraceSeconds: 0.05'))
  const controller = new AbortController()
  const { code, err } = await run(['wait', '"forever"', '-a', 'impatient.js'], {
    signal: controller.signal, onStderr: text => { if (text.includes('"waiting"')) controller.abort('SIGTERM') }
  })
  t.equal(code, 143)
  t.match(err, /FST_TASKS_ABORTED/)
})

t.test('what a handler enqueues on the embedded queue is refused, with what to do', async t => {
  const { code, err } = await run(['chain', '{}'])
  t.equal(code, 1)
  t.match(err, /FST_TASKS_SEND_FAILED/)
  t.match(err, /runs only in a process that serves/)
})

t.test('where several instances have a task of that name, its path tells them apart', async t => {
  writeFileSync(join(cwd, 'two.js'), appSource().replace('export default async function app (app) {', 'async function one (app) {') +
    "\nexport default async app => { await app.register(one, { prefix: '/a' }); await app.register(one, { prefix: '/b' }) }")
  t.match(await run(['greet', '{"name":"Ada"}', '-a', 'two.js']), { code: 1, err: /\/a\/tasks\/greet or \/b\/tasks\/greet/ })
  t.match(await run(['/b/tasks/greet', '{"name":"Ada"}', '-a', 'two.js']), { code: 0, out: /"Ada"/ })
})

t.test('a debugger that can listen nowhere is told before the app loads', async t => {
  for (const value of ['here', '70000', '127.0.0.1:']) t.match(await run(['greet', '{}', `--inspect=${value}`]), { code: 2, err: /the value must be PORT or HOST:PORT/ }, value)
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => { other.close() })
  const { port } = other.address() as AddressInfo
  t.match(await run(['greet', '{}', `--inspect=${port}`]), { code: 1, out: '', err: new RegExp(`no debugger can attach at 127\\.0\\.0\\.1:${port}`) })
})
