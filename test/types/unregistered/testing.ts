import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { defineTasks } from 'fastify-cloud-tasks'
import { testTasks, type TestKit } from 'fastify-cloud-tasks/testing'
import type { Equal } from '../equal.js'

const mail = defineTasks({ send: { payload: Type.Object({ to: Type.String() }) } })
const app = Fastify()

/** Typed by an explicit registry. */
const kit = testTasks(app, mail)
true satisfies Equal<typeof kit, TestKit<typeof mail>>
const [task] = kit.enqueued()
true satisfies Equal<NonNullable<typeof task>['payload'], { to: string }>
task?.payload.to.trim()
kit.assertEnqueued('send', { to: 'a@example.com' })
await kit.deliver('send', { to: 'a@example.com' })
await testTasks<typeof mail>(app).deliver('send', { to: 'a@example.com' })

// @ts-expect-error a name of no task here
kit.assertEnqueued('resize')
// @ts-expect-error wrong type of a field
await kit.deliver('send', { to: 42 })
// @ts-expect-error no registry
testTasks(app, { send: {} })
// @ts-expect-error no instance
testTasks({}, mail)

// Without a registry every name and payload is accepted.
testTasks(app).assertEnqueued('anything', { at: 'all' })
