import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type EnqueueResult, type TaskClient, type TaskHandlers, type TaskPayload } from 'fastify-cloud-tasks'
import type { Equal } from '../equal.js'

const mail = defineTasks({
  send: { payload: Type.Object({ to: Type.String() }) },
  'clean-up': { payload: Type.Null() }
})
const media = defineTasks({ resize: { payload: Type.Object({ photo: Type.String(), width: Type.Optional(Type.Integer()) }) } })

true satisfies Equal<TaskPayload<typeof mail, 'send'>, { to: string }>
true satisfies Equal<TaskPayload<typeof mail, 'send' | 'clean-up'>, never>

const handlers: TaskHandlers<typeof mail> = {
  async send ({ to }) {
    true satisfies Equal<typeof to, string>
    return await tasksOf(this, mail).enqueue('send', { to })
  },
  'clean-up': () => 0
}

const app = Fastify()
await app.register(cloudTasks, { tasks: mail, handlers })
await app.register(cloudTasks, { tasks: media, handlers: { resize: ({ photo, width = 100 }) => `${photo.trim()} ${width.toFixed()}` } })
// @ts-expect-error the other registry's handlers
await app.register(cloudTasks, { tasks: media, handlers })

const client = tasksOf(app, mail)
true satisfies Equal<typeof client, TaskClient<typeof mail>>
await client.enqueue('send', { to: 'a@example.com' }, { id: '42' }).then(result => {
  true satisfies Equal<typeof result, EnqueueResult>
})
await client.enqueueMany('send', [{ payload: { to: 'a@example.com' } }])
await client.run('clean-up', null)
await client.delete('send', '42')
await tasksOf(app, media).enqueue('resize', { photo: 'a.jpg' })
tasksOf(Fastify({ http2: true }).withTypeProvider<TypeBoxTypeProvider>(), mail)

// @ts-expect-error a name of the other registry
await client.enqueue('resize', { photo: 'a.jpg' })
// @ts-expect-error missing field
await client.enqueue('send', {})
// @ts-expect-error wrong type of a field
await client.run('send', { to: 42 })
// @ts-expect-error an item's payload
await client.enqueueMany('send', [{ payload: null }])
// @ts-expect-error union of names
await client.enqueue(Math.random() < 0.5 ? 'send' : 'clean-up', null)
// @ts-expect-error no instance
tasksOf({}, mail)
// @ts-expect-error no registry
tasksOf(app, { send: {} })
