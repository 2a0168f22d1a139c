import t from 'tap'
import { createRegistry, defineTasks } from '../../lib/registry/registry.js'

const payload = { type: 'object' } as const
const RULE = "one that starts with '/' and contains only letters, digits, '-', '.', '_', '~' and '/'"

/** The code and the message with which definitions and handlers are rejected. */
function rejection (definitions: unknown, handlers?: unknown): readonly [string, string] {
  try {
    createRegistry(definitions, handlers)
  } catch (error) {
    const { code, message } = error as { code: string, message: string }
    return [code, message]
  }
  return ['was accepted', '']
}

t.test('a definition has defaults', async t => {
  t.strictSame([...createRegistry({ count: { payload } })], [['count', {
    name: 'count',
    path: '/count',
    method: 'POST',
    payload,
    queue: undefined,
    dispatchDeadlineSeconds: undefined,
    deadLetterQueue: undefined,
    handler: undefined
  }]])
})

t.test('a definition keeps what it is given, with its handler', async t => {
  const given = { path: '/a/b', method: 'PUT', payload, queue: 'slow', dispatchDeadlineSeconds: 90, deadLetterQueue: false }
  const handler = () => {}
  const registry = createRegistry({ 'mail:send': given, other: { payload } }, { 'mail:send': handler, other: undefined })
  t.strictSame(registry.get('mail:send'), { name: 'mail:send', ...given, handler } as never)
  t.equal(registry.get('other')?.handler, undefined)
  t.ok(Object.isFrozen(registry.get('other')))
})

t.test('a malformed definition is rejected with the name of its task', async t => {
  const task = "Task 'count': "
  const long = 'x'.repeat(201)
  for (const [what, definitions, message] of [
    ['a string', 'count', "'tasks' must be an object of task definitions by name, as defineTasks returns it"],
    ['a list', [{ payload }], "'tasks' must be an object of task definitions by name, as defineTasks returns it"],
    ['a prototype', { __proto__: { payload } }, "'tasks' must be an object of task definitions by name, as defineTasks returns it"],
    ['an empty name', { '': { payload, path: '/x' } }, "Task '': a task name has 1 to 200 characters and no white space"],
    ['a long name', { [long]: { payload } }, `Task '${long}': a task name has 1 to 200 characters and no white space`],
    ['a name with a space', { 'a b': { payload, path: '/x' } }, "Task 'a b': a task name has 1 to 200 characters and no white space"],
    ['a control character', { 'a\0': { payload, path: '/x' } }, "Task 'a\0': a task name has 1 to 200 characters and no white space"],
    ['no object', { count: 'object' }, `${task}a definition is an object such as { payload: Type.Object({}) }`],
    ['an unknown key', { count: { payload, pth: '/x' } }, `${task}unknown option 'pth'; did you mean 'path'?`],
    ['a misspelt key', { count: { payload, dispatchDeadlineSecond: 30 } },
      `${task}unknown option 'dispatchDeadlineSecond'; did you mean 'dispatchDeadlineSeconds'?`],
    ['no schema', { count: {} }, `${task}it needs a 'payload', a schema such as Type.Object({ order: Type.String() })`],
    ['a name that makes no path', { 'mail:send': { payload } },
      `Task 'mail:send': its name is not a valid path, so it needs a 'path': ${RULE}`],
    ['a GET', { count: { payload, method: 'GET' } }, `${task}'method' must be 'POST' or 'PUT' or 'PATCH'; did you mean 'PUT'?`],
    ['a bad queue', { count: { payload, queue: 'my_queue' } }, `${task}'queue' must be a queue id: 1 to 100 letters, digits or hyphens`],
    ['a numeric queue', { count: { payload, queue: 5 } }, `${task}'queue' must be a queue id: 1 to 100 letters, digits or hyphens`],
    ['a dead-letter queue', { count: { payload, deadLetterQueue: 'dead' } },
      `${task}'deadLetterQueue' must be false or left out; the queue is set by the plugin's option`]
  ] as const) t.strictSame(rejection(definitions), ['FST_TASKS_INVALID_DEFINITION', message], what)
})

t.test('a payload that is no schema is rejected, and a function that is one is not', async t => {
  for (const schema of ['string', 5, true, null, [payload], () => true, Symbol('schema')]) {
    t.strictSame(rejection({ count: { payload: schema } }),
      ['FST_TASKS_INVALID_DEFINITION', "Task 'count': 'payload' must be a schema, such as Type.Object({ order: Type.String() })"])
  }
  const callable = Object.assign(() => true, { '~standard': { version: 1 } })
  t.equal(createRegistry({ count: { payload: callable } }).get('count')?.payload, callable)
})

t.test('a path is a literal one, and the URL that is called is exactly the route', async t => {
  const invalid = [
    '', '/', 'count', '/:id', '/a/*', '/a?b=c', '/a#b', '/a/', '/a//b', '//a', '/..', '/.', '/a/../b', '/a/./b', '/../a', '/a/..', '/é',
    '/%41', `/${'x'.repeat(1000)}`, 7, null
  ]
  for (const path of invalid) {
    const expected = ['FST_TASKS_INVALID_DEFINITION', `Task 'count': 'path' must be ${RULE}`]
    t.strictSame(rejection({ count: { payload, path } }), expected, String(path))
  }
  for (const path of ['/a', '/a/b', '/a.b', '/.a', '/a..b', '/...', '/..a/b..', '/A-z_0~9', `/${'x'.repeat(999)}`]) {
    t.equal(createRegistry({ count: { payload, path } }).get('count')?.path, path)
  }
  t.equal(createRegistry({ ['x'.repeat(200)]: { payload } }).size, 1)
})

t.test('a deadline has the range of the most generous target', async t => {
  for (const dispatchDeadlineSeconds of [14.9, 86_415.1, '60', NaN, null]) {
    t.strictSame(rejection({ count: { payload, dispatchDeadlineSeconds } }), [
      'FST_TASKS_INVALID_DEFINITION',
      "Task 'count': 'dispatchDeadlineSeconds' must be a number of seconds from 15 to 1800 (86415 on App Engine)"
    ])
  }
  for (const seconds of [15, 20.5, 86_415]) {
    t.equal(createRegistry({ count: { payload, dispatchDeadlineSeconds: seconds } }).get('count')?.dispatchDeadlineSeconds, seconds)
  }
})

t.test('two tasks on one path are rejected, with both names', async t => {
  const [code, message] = rejection({ a: { payload, path: '/b' }, b: { payload } })
  t.equal(code, 'FST_TASKS_DUPLICATE_PATH')
  for (const part of ["'a'", "'b'", "'/b'"]) t.ok(message.includes(part), message)
})

t.test('handlers that do not match the definitions are rejected', async t => {
  const definitions = { count: { payload }, constructor: { payload } }
  for (const [what, handlers, message] of [
    ['no definition', { cuont: () => {} }, "There is a handler for 'cuont', which is not a defined task; did you mean 'count'?"],
    ['a method of all objects', { toString: () => {} }, "There is a handler for 'toString', which is not a defined task"],
    ['no function', { count: 'later' }, "The handler of task 'count' must be a function"],
    ['null', { count: null }, "The handler of task 'count' must be a function"],
    ['one function', () => {}, "'handlers' must be an object of functions by task name"],
    ['a list', [], "'handlers' must be an object of functions by task name"]
  ] as const) t.strictSame(rejection(definitions, handlers), ['FST_TASKS_INVALID_HANDLER', message], what)
})

t.test('a task that is named like a method of all objects has a handler only where it is given one', async t => {
  const definitions = { constructor: { payload }, toString: { payload } }
  const handler = () => {}
  t.strictSame([...createRegistry(definitions).values()].map(task => task.handler), [undefined, undefined])
  t.strictSame([...createRegistry(definitions, { toString: handler }).values()].map(task => task.handler), [undefined, handler])
})

t.test('defineTasks returns the definitions themselves, frozen, after it has checked them', async t => {
  const definitions = { count: { payload, queue: 'slow' } }
  t.equal(defineTasks(definitions), definitions)
  t.strictSame([Object.isFrozen(definitions), Object.isFrozen(definitions.count), Object.isFrozen(payload)], [true, true, false])
  t.throws(() => defineTasks({ count: {} } as never), { code: 'FST_TASKS_INVALID_DEFINITION' })
})
