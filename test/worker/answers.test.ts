import { connect, type AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { refuseWhileClosing } from '../../lib/worker/answers.js'
import { gate, start } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
const call = { method: 'POST', url: '/tasks/work', payload: { n: 1 } } as const

t.test('the headers of an answer', async t => {
  const { app } = await start(t, {
    tasks,
    auth: false,
    handlers: {
      work ({ n }, task) {
        if (n === 2) throw new Error('boom')
        if (n === 3) task.drop('unwanted')
      }
    }
  })
  for (const [payload, status, result, code] of [
    [{ n: 1 }, 204, 'done', undefined],
    [{ n: 2 }, 500, 'retry', 'FST_TASKS_ATTEMPT_FAILED'],
    [{ n: 3 }, 200, 'dropped', 'FST_TASKS_DROPPED'],
    [{ n: 'x' }, 400, 'retry', 'FST_TASKS_INVALID_PAYLOAD']
  ] as const) {
    t.test(`${status} reports the outcome of the attempt, without Retry-After`, async t => {
      const response = await app.inject({ ...call, payload })
      t.equal(response.statusCode, status)
      t.equal(response.headers['fastify-cloud-tasks-result'], result)
      t.notOk('retry-after' in response.headers)
      t.notOk('www-authenticate' in response.headers)
      t.strictSame(
        response.body === '' ? undefined : response.json(),
        code === undefined ? undefined : { statusCode: status, result, code }
      )
    })
  }

  t.test('503 of a closing server asks Cloud Tasks to come back in a second', async t => {
    const started = gate()
    const { app } = await start(t, {
      tasks,
      auth: false,
      closeGraceSeconds: 0,
      handlers: {
        async work () {
          started.open()
          await new Promise(() => {})
        }
      }
    })
    const answer = app.inject(call)
    await started.opened
    await app.close()
    const response = await answer
    t.equal(response.statusCode, 503)
    t.equal(response.headers['retry-after'], '1')
    t.equal(response.headers['fastify-cloud-tasks-result'], 'retry')
  })

  t.test('401 names the scheme, and no other refusal does', async t => {
    const { app } = await start(t, { tasks, handlers: { work: () => {} } }, app => {
      app.addHook('onRequest', async request => {
        if (request.headers['x-refuse'] !== undefined) {
          throw Object.assign(new Error('not you'), { statusCode: Number(request.headers['x-refuse']) })
        }
      })
    })
    const refused = await app.inject(call)
    t.equal(refused.statusCode, 401)
    t.equal(refused.headers['www-authenticate'], 'Bearer')
    t.equal(refused.headers['fastify-cloud-tasks-result'], 'refused')
    for (const status of [403, 503]) {
      const response = await app.inject({ ...call, headers: { 'x-refuse': String(status) } })
      t.equal(response.statusCode, status)
      t.notOk('www-authenticate' in response.headers)
      t.notOk('retry-after' in response.headers)
    }
  })
})

t.test("the host's onError hooks", async t => {
  const called: string[] = []
  const { app } = await start(t, {
    tasks,
    auth: false,
    handlers: {
      async work ({ n }, task) {
        if (n === 2) throw new Error('boom')
        if (n === 3) task.drop('unwanted')
        if (n === 4) await new Promise(() => {})
      }
    }
  }, app => { app.addHook('onError', async (_request, _reply, error) => { called.push(error.code) }) })

  t.test('are called for an attempt that failed', async t => {
    t.equal((await app.inject({ ...call, payload: { n: 2 } })).statusCode, 500)
    t.strictSame(called.splice(0), ['FST_TASKS_ATTEMPT_FAILED'])
  })

  t.test('are not called for one that is done, dropped or too late', async t => {
    t.equal((await app.inject({ ...call, payload: { n: 1 } })).statusCode, 204)
    t.equal((await app.inject({ ...call, payload: { n: 3 } })).statusCode, 200)
    const kit = testTasks(app)
    const late = app.inject({ ...call, payload: { n: 4 } })
    await kit.advance('10m')
    t.equal((await late).statusCode, 504)
    t.strictSame(called, [])
  })
})

t.test('a body', async t => {
  const reasons: string[] = []
  const two = defineTasks({ ...tasks, text: { payload: Type.String() } })
  const { app, log } = await start(t, {
    tasks: two,
    auth: false,
    invalidPayload: 'drop',
    handlers: { work: () => {}, text: () => {} },
    onDropped: (_, reason) => {
      reasons.push(reason)
    }
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo

  /** The status of a request whose headers and body are exactly these. */
  const send = async (t: Test, headers: string, body: string, path = '/tasks/work'): Promise<string | undefined> => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n${body}`)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    return /^HTTP\/1\.1 (\d+) /.exec(answer)?.[1]
  }

  t.test('is read as JSON regardless of its content type and framing', async t => {
    t.equal(await send(t, 'Transfer-Encoding: chunked\r\n', '7\r\n{"n":1}\r\n0\r\n\r\n'), '204')
    t.equal(await send(t, 'Content-Length: 7\r\n', '{"n":1}'), '204')
    t.equal(await send(t, 'Content-Type: text/plain\r\nContent-Length: 7\r\n', '{"n":1}'), '204')
    t.strictSame(reasons, [])
  })

  t.test('that is missing is rejected with that reason', async t => {
    for (const headers of ['', 'Content-Length: 0\r\n']) {
      t.equal(await send(t, headers, ''), '200')
      t.equal(await send(t, headers, '', '/tasks/text'), '200', 'even where the validator would make a payload of nothing')
    }
    t.strictSame(reasons.splice(0), Array.from({ length: 2 }, () => [
      "The payload of task 'work' is invalid: payload is missing: the request has no body",
      "The payload of task 'text' is invalid: payload is missing: the request has no body"
    ]).flat())
  })

  t.test("that does not parse is named in Fastify's own words", async t => {
    t.equal(await send(t, 'Content-Type: application/json\r\nContent-Length: 0\r\n', ''), '200')
    t.equal(await send(t, 'Transfer-Encoding: chunked\r\n', '0\r\n\r\n'), '200')
    t.equal(await send(t, 'Content-Type: application/json\r\nContent-Length: 5\r\n', '{"n":'), '200')
    const [empty, chunked, cut] = reasons.splice(0)
    t.equal(empty, "Body cannot be empty when content-type is set to 'application/json'")
    t.equal(chunked, empty)
    t.equal(cut, "Body is not valid JSON but content-type is set to 'application/json'")
    t.notOk(JSON.stringify(log).includes('{\\"n\\":'), 'and is not quoted')
  })

  t.test('that does not match the schema is reported by field', async t => {
    t.equal(await send(t, 'Content-Length: 9\r\n', '{"n":"x"}'), '200')
    t.strictSame(reasons.splice(0), ["The payload of task 'work' is invalid: payload/n must be integer"])
  })
})

t.test('a time limit is set on the routes only where the host has one, and is then longer than any attempt', async t => {
  for (const [handlerTimeout, expected] of [[0, undefined], [5000, 2 ** 31 - 1]] as const) {
    const limits: unknown[] = []
    const app = Fastify(handlerTimeout === 0 ? {} : { handlerTimeout })
    t.teardown(() => app.close())
    app.addHook('onRoute', route => { limits.push((route as { handlerTimeout?: number }).handlerTimeout) })
    await app.register(cloudTasks, {
      tasks,
      transport: 'local',
      prefix: '',
      handlers: {
        work: (_: unknown, task: TaskContext) => {
          task.drop('x')
        }
      }
    } as CloudTasksOptions)
    await app.ready()
    t.strictSame(limits, [expected])
  }
})

t.test('an attempt that a closing server rejects is logged where Cloud Tasks counts it', async t => {
  for (const embedded of [false, true]) {
    const lines: unknown[] = []
    const sent: unknown[] = []
    const reply = {
      code (status: number) { sent.push(status); return reply },
      header (name: string, value: string) { sent.push([name, value]); return reply },
      send (body: unknown) { sent.push(body); return reply }
    }
    const request = { log: { warn (fields: unknown) { lines.push(fields) } } }
    t.equal(refuseWhileClosing({ config: { embedded } } as never, { name: 'work' } as never, request as never, reply as never), reply)
    t.strictSame(lines, embedded ? [] : [{ task: 'work' }])
    t.strictSame(sent, [
      503,
      ['fastify-cloud-tasks-result', 'closing'],
      ['retry-after', '1'],
      { statusCode: 503, result: 'closing', code: 'FST_TASKS_CLOSING' }
    ])
  }
})
