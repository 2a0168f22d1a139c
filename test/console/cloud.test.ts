import t from 'tap'
import type { CloudTasksOptions } from '../../lib/index.js'
import { serve } from './console-app.js'

t.test('a console where the queues are in Google Cloud shows the registry', async t => {
  const client = { createTask: async () => [{}] } as unknown as NonNullable<CloudTasksOptions['client']>
  const { read } = await serve(t, { plugin: { transport: 'cloud', project: 'p', location: 'l', client, queues: {}, auth: false, target: { type: 'http', url: 'https://x.example' } } })
  t.match(await read('overview'), { queues: null, timeline: [], tasks: [{ name: 'greet' }, {}, {}, {}] })
  t.match(await read('tasks'), { error: { code: 'FST_TASKS_LOCAL_ONLY' } })
})
