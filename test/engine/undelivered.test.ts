import t from 'tap'
import { FragileStore, queue, httpRequest, startEngine } from '../support/engine-harness.js'

const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('an attempt that was not delivered does not count', async t => {
  const undelivered = async () => await Promise.resolve('undelivered' as const)

  t.test('its task is as it was before, and due again after a second', async t => {
    const dispatched: number[] = []
    const { engine, clock, store, errors } = await startEngine({
      store: new FragileStore(),
      dispatch: async ({ task }) => {
        dispatched.push(task.dispatchCount)
        return await undelivered()
      }
    })
    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 1 } })
    store.calls.length = 0
    const task = await engine.createTask(queue, named('a'))
    await clock.settle()
    t.strictSame(store.calls, ['putTask'], 'nothing is written for the attempt')
    t.strictSame(engine.getTask(task.name), task)
    t.strictSame(store.getTask(task.name), task)
    t.strictSame(engine.counts(queue), { waiting: 1, running: 0 })
    await clock.advance(999)
    t.strictSame(dispatched, [1])
    await clock.advance(1)
    t.strictSame(dispatched, [1, 1])
    await engine.close()
    t.strictSame(errors, [])
  })

  t.test('and was started before its time, its task is due at that time', async t => {
    const dispatchedAt: number[] = []
    const { engine, clock } = await startEngine({
      dispatch: async () => {
        dispatchedAt.push(clock.now())
        return await undelivered()
      }
    })
    const scheduleAt = clock.now() + 5000
    const { name } = await engine.createTask(queue, { ...named('a'), scheduleAt })
    await engine.runTask(name)
    await clock.settle()
    t.equal(engine.firstDueAt(queue), scheduleAt)
    await clock.advance(5000)
    t.strictSame(dispatchedAt, [scheduleAt - 5000, scheduleAt])
    await engine.close()
  })

  t.test('its earlier attempts still count', async t => {
    const answers = [{ status: 500 }, 'undelivered' as const]
    const { engine, clock } = await startEngine({ dispatch: async () => answers.shift() ?? { status: 200 } })
    const { name } = await engine.createTask(queue, named('a'))
    await clock.settle()
    const failed = engine.getTask(name)
    t.equal(failed.dispatchCount, 1)
    await clock.advance(100)
    t.strictSame([answers.length, engine.getTask(name)], [0, failed])
    await engine.close()
  })

  t.test('another attempt of the task that runs at the same time counts', async t => {
    const answers: Array<(answer: { status: number } | 'undelivered') => void> = []
    const { engine, clock } = await startEngine({ dispatch: async () => await new Promise(resolve => { answers.push(resolve) }) })
    const { name } = await engine.createTask(queue, named('a'))
    await engine.runTask(name)
    t.equal(engine.getTask(name).dispatchCount, 2)
    answers[0]!('undelivered')
    await clock.settle()
    t.strictSame([engine.getTask(name).dispatchCount, engine.running(name)], [1, 1])
    answers[1]!({ status: 500 })
    await clock.settle()
    t.match(engine.getTask(name), { dispatchCount: 1, responseCount: 1, previousResponse: 500 })
    await engine.close()
  })

  t.test('an earlier failed write is still stored later', async t => {
    const store = new FragileStore()
    const answers = [{ status: 500 }, 'undelivered' as const]
    const { engine, clock } = await startEngine({ store, dispatch: async () => answers.shift() ?? { status: 200 } })
    const { name } = await engine.createTask(queue, named('a'))
    store.broken.add('putTask')
    await clock.advance(200)
    t.equal(answers.length, 0)
    store.broken.delete('putTask')
    await engine.stop()
    t.match(store.getTask(name), { dispatchCount: 1, previousResponse: 500 })
    await engine.close()
  })

  t.test('observers are notified, and a deleted task stays deleted', async t => {
    let answer = (_: 'undelivered'): void => {}
    const { engine, clock } = await startEngine({ dispatch: async () => await new Promise(resolve => { answer = resolve }) })
    const events: string[] = []
    engine.observe({
      started () { events.push('started') },
      undelivered ({ task }) { events.push(`undelivered ${task.dispatchCount}`) },
      attempted () { events.push('attempted') },
      ended (_, why) { events.push(why) }
    })
    const { name } = await engine.createTask(queue, named('a'))
    await engine.deleteTask(name)
    answer('undelivered')
    await clock.settle()
    t.strictSame(events, ['started', 'deleted', 'undelivered 1'])
    t.strictSame(engine.counts(queue), { waiting: 0, running: 0 })
    t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
    await engine.close()
  })
})
