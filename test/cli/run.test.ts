import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { parseJson } from '../../lib/cli/json.js'
import { IMPORTS, appSource, command, type Surroundings } from './terminal.js'

// A module is loaded once a process: paths differ from those of other tests' apps.
const cwd = join(t.testdir({
  run: { 'app.js': appSource(), 'payload.json': '{"name":"Ada"}', 'broken.json': '{\n  "name": "Ada",\n  "age": 3,\n}\n' }
}), 'run')
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
  t.match(await run(['greet', '{}', '{}']), { code: 2, err: /unexpected argument '\{\}'/ })
  t.match(await run([]), { code: 2, err: /missing task/ })
})

t.test('a payload that is not JSON is rejected with the line, the column and what is expected there', async t => {
  const refused = async (input: string): Promise<string> => {
    const { code, out, err } = await run(['greet', '-'], { input })
    t.equal(code, 1)
    t.equal(out, '')
    return err
  }
  t.equal(
    await refused('{"name": Ada}'),
    'fastify-cloud-tasks: the payload (stdin) is not JSON: line 1, column 10: expected a value, found "A"\n  {"name": Ada}\n           ^\n'
  )
  t.match(await run(['greet', '--file', 'broken.json']), {
    code: 1,
    err: /line 4, column 1: expected a name in double quotes, found "\}"/
  })
  t.match(await run(['greet', '{name:Ada}']), {
    code: 1,
    err: /column 2: expected a name in double quotes, found "n"\n.*\n.*\n\(a shell removes quotes/
  })
  t.match(await refused('{"name":'), /line 1, column 9: expected a value, found the end/)
  t.match(await refused('{"name" "Ada"}'), /column 9: expected ':', found "\\""/)
  t.match(await refused('[1 2]'), /column 4: expected ',', found "2"/)
  t.match(await refused('{"a":1'), /column 7: expected ',' or '\}', found the end/)
  t.match(await refused('"a\nb"'), /column 1: expected a string that ends on its line/)
  t.match(await refused('[1] // one'), /column 5: expected a value, because JSON has no comments/)
  for (const input of ['', '\n']) t.match(await refused(input), /the payload \(stdin\) is empty; for a task without data use/)
})

t.test('whatever is not JSON is rejected with its place, and nothing else is', async t => {
  const json = fc.json({ maxDepth: 3 })
  const damaged = fc
    .tuple(
      json,
      fc.nat(),
      fc.constantFrom('', ',', '}', ']', '"', '\\', '\n', '0', '-', ':', 'e', '\u0007', '\u00a0', '//', 'nul'),
      fc.nat(3)
    )
    .map(([text, at, piece, cut]) => {
      const place = at % (text.length + 1)
      return text.slice(0, place) + piece + text.slice(place + cut)
    })
  await fc.assert(fc.asyncProperty(fc.oneof(json, damaged, fc.string({ minLength: 1 })), async text => {
    let value: unknown
    let fails = false
    try { value = JSON.parse(text) } catch { fails = true }
    const read = await parseJson(text).then(value => ({ value }), (error: Error) => error)
    if (
      fails &&
      !(read instanceof SyntaxError && /^line \d+, column \d+: (?:expected .+, found|unexpected) (?:the end|")/.test(read.message))
    ) { throw new Error(JSON.stringify({ text, read: String(read) })) }
    if (!fails) t.strictSame(read, { value })
  }), { numRuns: 2000 })
  await t.rejects(parseJson('[1,'.repeat(100_000)), SyntaxError, 'however deep it is nested')
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

t.test('an example is shown only if the validator of the app accepts it, else the schema', async t => {
  const cwd = t.testdir({ 'schemas.js': SCHEMAS, 'library.js': LIBRARY })
  const exampleOf = async (name: string, app: string): Promise<string | undefined> => {
    const { code, err } = await command(['run', name, '-a', app], { cwd })
    t.equal(code, 1, err)
    const [line, example] = new RegExp(`^A valid payload:\\n {2}fastify-cloud-tasks run ${name} -a ${app} '(.+)'$`, 'm').exec(err) ?? []
    t.equal(line === undefined, /^Its schema(?: cannot be shown as JSON)?:/m.test(err), err)
    return example?.replaceAll("'\\''", "'")
  }
  for (const [name, app] of [['plain', 'schemas.js'], ['nested', 'schemas.js'], ['local', 'schemas.js'], ['union', 'schemas.js'],
    ['optional', 'schemas.js'], ['empty', 'library.js']] as const) {
    const example = await exampleOf(name, app)
    t.match(await command(['run', name, String(example), '-a', app], { cwd }), { code: 0 }, `${name}: ${example}`)
  }
  for (const [name, app] of [
    ['pattern', 'schemas.js'],
    ['shared', 'schemas.js'],
    ['negated', 'schemas.js'],
    ['strict', 'library.js']
  ] as const) {
    t.equal(await exampleOf(name, app), undefined, name)
  }
  t.match(
    (await command(['run', 'shared', '{"name":"A"}', '-a', 'schemas.js'], { cwd })).err,
    /^ {2}name {2}must NOT have fewer than 3 characters\nIts schema:\n\{\n {2}"\$ref": "shared-name#"\n\}$/m
  )
  t.match((await command(['run', 'strict', '{"name":"A"}', '-a', 'library.js'], { cwd })).err, /^ {2}something else is needed$/m)
})

t.test('a payload that does not fit is rejected field by field', async t => {
  const { code, out, err } = await run(['greet', '{"name":"A","email":"nowhere"}'])
  t.equal(code, 1)
  t.equal(out, '')
  t.match(err, /does not match the schema of task 'greet':\n {2}name {2}must NOT have fewer than 2 characters\nA valid payload:/)
  t.match((await run(['greet', '{"name":"Ada","email":"nowhere"}'])).err, /^ {2}email {2}must match format "email"$/m)
  t.match((await run(['greet', '{}'])).err, /^ {2}name {2}must have required property 'name'$/m)
  t.match((await run(['greet', '3'])).err, /^ {2}\(payload\) {2}must be object$/m)
})

t.test('an unknown task suggests the nearest, and one without a handler says so', async t => {
  t.match(await run(['gret', '{}']), { code: 1, err: /no task 'gret'; did you mean 'greet'\?/ })
  t.match(await run(['something-else', '{}']), { code: 1, err: /its tasks are greet, fail/ })
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

t.test('a task that its handler postponed ends with code 4 and one line with time and reason', async t => {
  const source = `${IMPORTS}
    const tasks = defineTasks({ wait: { payload: Type.Any() } })
    const handlers = { wait: (until, task) => task.retryAfter(new Date(until), 'asked to wait') }
    export default async app => { await app.register(cloudTasks, { tasks, handlers }) }`
  writeFileSync(join(cwd, 'postpones.js'), source)
  const until = new Date(Date.now() + 3_600_000).toISOString()
  const { code, out, err } = await run(['wait', JSON.stringify(until), '-a', 'postpones.js'])
  t.strictSame([code, out], [4, ''])
  const lines = err.split('\n').filter(line => line.startsWith('fastify-cloud-tasks:'))
  t.equal(lines.length, 1)
  t.match(lines[0], until)
  t.match(lines[0], 'asked to wait')
})

t.test('a return value without JSON text is a clear error', async t => {
  t.match(await run(['give', '"circle"']), { code: 1, out: '', err: /succeeded, but its return value has no JSON representation: .*circular/i })
  t.match(await run(['give', '"big"']), { code: 1, out: '', err: /BigInt/ })
  t.match(await run(['give', '"function"']), { code: 1, out: '', err: /a function has no JSON representation/ })
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

t.test('what a handler enqueues on the embedded queue is rejected, with what to do', async t => {
  const { code, err } = await run(['chain', '{}'])
  t.equal(code, 1)
  t.match(err, /FST_TASKS_SEND_FAILED/)
  t.match(err, /runs only in a server process/)
})

t.test('where several instances have a task of that name, its path identifies it', async t => {
  writeFileSync(join(cwd, 'two.js'), appSource().replace('export default async function app (app) {', 'async function one (app) {') +
    "\nexport default async app => { await app.register(one, { prefix: '/a' }); await app.register(one, { prefix: '/b' }) }")
  t.match(await run(['greet', '{"name":"Ada"}', '-a', 'two.js']), { code: 1, err: /\/a\/tasks\/greet or \/b\/tasks\/greet/ })
  t.match(await run(['/b/tasks/greet', '{"name":"Ada"}', '-a', 'two.js']), { code: 0, out: /"Ada"/ })
})

t.test('an inspector that cannot listen is reported before the app loads', async t => {
  for (const value of ['here', '70000', '127.0.0.1:']) {
    t.match(await run(['greet', '{}', `--inspect=${value}`]), { code: 2, err: /the value must be PORT or HOST:PORT/ }, value)
  }
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => { other.close() })
  const { port } = other.address() as AddressInfo
  t.match(await run(['greet', '{}', `--inspect=${port}`]), {
    code: 1,
    out: '',
    err: new RegExp(`no debugger can attach at 127\\.0\\.0\\.1:${port}`)
  })
})

/** An app with schemas of many kinds; the value that a form begins with does not fit the last ones. */
const SCHEMAS = `${IMPORTS}
  const name = { type: 'object', properties: { name: { type: 'string', minLength: 3 } }, required: ['name'] }
  const payloads = {
    plain: Type.Object({ order: Type.String({ minLength: 12 }), email: Type.String({ format: 'email' }), at: Type.String({ format: 'date-time' }), it: Type.Literal("it's") }),
    nested: Type.Object({ lines: Type.Array(Type.Object({ sku: Type.String({ examples: ['A-1'], pattern: '^A-1$' }), count: Type.Integer({ minimum: 1 }) }), { minItems: 2 }) }),
    local: { $ref: '#/$defs/name', $defs: { name } },
    union: Type.Union([Type.Object({ kind: Type.Literal('a') }), Type.Object({ kind: Type.Literal('b') })]),
    optional: Type.Object({ name: Type.Optional(Type.String()) }),
    pattern: Type.Object({ plate: Type.String({ pattern: '^[A-Z]{2}-\\\\d{4}$' }) }),
    shared: { $ref: 'shared-name#' },
    negated: { type: 'object', not: { type: 'object' } }
  }
  const tasks = defineTasks(Object.fromEntries(Object.entries(payloads).map(([name, payload]) => [name, { payload }])))
  const handlers = Object.fromEntries(Object.keys(tasks).map(name => [name, () => name]))
  export default async function app (app) {
    app.addSchema({ $id: 'shared-name', ...name })
    await app.register(cloudTasks, { tasks, handlers })
  }`

/** An app whose schemas are of a library that knows no JSON Schema, with its own validator. */
const LIBRARY = `${IMPORTS}
  class LibrarySchema {
    constructor (accepted) { this.type = 'object'; this.accepted = accepted; this.self = this }
    parse (value) { if (JSON.stringify(value) !== this.accepted) throw new Error('something else is needed'); return value }
  }
  const tasks = defineTasks({ strict: { payload: new LibrarySchema('{"a":1}') }, empty: { payload: new LibrarySchema('{}') } })
  const handlers = { strict: () => {}, empty: () => {} }
  export default async function app (app) {
    app.setValidatorCompiler(({ schema }) => value => ({ value: schema.parse(value) }))
    await app.register(cloudTasks, { tasks, handlers })
  }`
