import { EventEmitter } from 'node:events'
import t from 'tap'
import { AttemptConnection } from '../../lib/worker/connection.js'

/** A connection that only records its idle limit, and the request and response of an attempt on it. */
function attemptOn (connection: { timeout: number | undefined }, { http2 = false, destroyed = false } = {}) {
  const set: number[] = []
  const idle = Object.assign(connection, { setTimeout (ms: number) { set.push(ms); connection.timeout = ms } })
  const response = Object.assign(new EventEmitter(), { headersSent: false, destroyed: http2 ? false : destroyed })
  const request = http2 ? { stream: { session: idle, destroyed }, socket: { timeout: 1 } } : { socket: idle }
  return { set, response, create: (ms: number) => new AttemptConnection(request as never, response as never, ms) }
}

for (const http2 of [false, true]) {
  t.test(`the idle limit, HTTP/${http2 ? 2 : 1}, is the longest of all attempts until the last ends`, async t => {
    const connection = { timeout: 100 }
    const [one, two, three] = [200, 300, 50].map(ms => attemptOn(connection, { http2 }).create(ms))
    t.equal(connection.timeout, 300)
    two!.release()
    three!.release()
    t.equal(connection.timeout, 300)
    one!.release()
    t.equal(connection.timeout, 100)
    one!.release()
    t.equal(connection.timeout, 100, 'an end too many changes nothing')
    const next = attemptOn(connection, { http2 }).create(200)
    t.equal(connection.timeout, 200)
    connection.timeout = 70
    next.release()
    t.equal(connection.timeout, 70, 'a limit that the app has set meanwhile stays')
  })

  t.test(`a connection without an idle limit gets none, HTTP/${http2 ? 2 : 1}`, async t => {
    for (const timeout of [0, undefined]) {
      const connection = { timeout }
      const { set, create } = attemptOn(connection, { http2 })
      create(200).release()
      t.strictSame([set, connection.timeout], [[], timeout])
    }
  })

  t.test(`a client that had hung up before the attempt is noticed, HTTP/${http2 ? 2 : 1}`, async t => {
    for (const destroyed of [true, false]) {
      let hungUp = false
      attemptOn({ timeout: 0 }, { http2, destroyed }).create(200).onHangUp(() => { hungUp = true })
      t.equal(hungUp, destroyed)
    }
  })
}

t.test('a client hangs up once: before the response, and while it is watched', async t => {
  const { response, create } = attemptOn({ timeout: 0 })
  let count = 0
  const watched = create(200)
  watched.onHangUp(() => { count++ })
  t.equal(count, 0)
  response.emit('close')
  response.emit('close')
  t.equal(count, 1)
  watched.onHangUp(() => { count += 10 })
  t.equal(count, 11, 'and a later listener is called at once')

  for (const end of [
    ({ connection }: { connection: AttemptConnection }) => { connection.release() },
    ({ response }: { response: { headersSent: boolean } }) => { response.headersSent = true }
  ]) {
    const { response, create } = attemptOn({ timeout: 0 })
    const connection = create(200)
    connection.onHangUp(() => { t.fail('was called') })
    end({ connection, response })
    response.emit('close')
  }
  const early = attemptOn({ timeout: 0 })
  const connection = early.create(200)
  early.response.emit('close')
  let noticed = false
  connection.onHangUp(() => { noticed = true })
  t.equal(noticed, true, 'nor is one lost that nothing had listened to')
})
