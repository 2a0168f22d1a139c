/** The embedded queue in a directory: what `enqueue` has acknowledged survives the end of the process, a crash and a power cut. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from 'fastify-cloud-tasks'
import { testTasks } from 'fastify-cloud-tasks/testing'

const tasks = defineTasks({ 'send-receipt': { payload: Type.Object({ order: Type.String() }) } })
const directory = await mkdtemp(join(tmpdir(), 'example-tasks-'))

async function start (sendReceipt: (order: string) => void): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    local: { directory },
    handlers: { 'send-receipt': async ({ order }) => { sendReceipt(order) } }
  })
  await app.ready()
  return app
}

const first = await start(() => assert.fail('not due yet'))
await tasksOf(first, tasks).enqueue('send-receipt', { order: '42' }, { scheduleDelaySeconds: 3600, id: '42' })
await first.close()
console.log('the first server has enqueued a task and is closed before it is due')

const sent: string[] = []
const second = await start(order => { sent.push(order) })
const kit = testTasks(second, tasks) // Its clock is moved, so that nothing waits for an hour.
const { duplicate } = await tasksOf(second, tasks).enqueue('send-receipt', { order: '42' }, { id: '42' })
assert.equal(duplicate, true)
console.log('the second server knows its id')
await kit.advance('59m')
assert.deepEqual(sent, [])
await kit.advance('1m')
assert.deepEqual(sent, ['42'])
console.log('and runs it when it is due')
await second.close()
await rm(directory, { recursive: true })
