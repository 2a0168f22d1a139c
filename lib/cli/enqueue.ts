import type { EnqueueOptions } from '../enqueue.js'
import { appHelp, appOption, loadApp } from './app.js'
import { CommandError, UsageError, type Command } from './command.js'
import { fileOption, payloadHelp, payloadOf, taskOf } from './payload.js'

const enqueue: Command = {
  usage: 'TASK [JSON|-] [--id ID] [--delay SECONDS] [-a APP]',
  help: `Enqueues a task through the transport of an app, and prints the result as JSON. An embedded queue in memory ends with
this process, so there it is refused; one with a directory takes the task if no other process has the directory.

${payloadHelp}
  --id ID          de-duplication key
  --delay SECONDS  not before so many seconds
${appHelp}`,
  options: { ...appOption, ...fileOption, id: { type: 'string' }, delay: { type: 'string' } },
  maxArguments: 2,

  async run (args, io) {
    const options = optionsOf(args.values)
    const app = await loadApp(args.values['app'], 'send', io)
    try {
      const task = taskOf(app, args.positionals[0])
      io.stdout.write(`${JSON.stringify(await app.enqueue(task.name, await payloadOf(task, args, io), options), undefined, 2)}\n`)
      return 0
    } catch (error) {
      const { code, message } = error as { readonly code?: string, readonly message: string }
      if (code?.startsWith('FST_TASKS_') === true) throw new CommandError(message)
      throw error
    } finally {
      await app.close()
    }
  }
}

export default enqueue

function optionsOf (values: Readonly<Record<string, unknown>>): EnqueueOptions {
  const { id, delay } = values as { readonly id?: string, readonly delay?: string }
  if (delay !== undefined && !(Number(delay) >= 0)) throw new UsageError(`--delay takes seconds, not '${delay}'`)
  return { ...(id === undefined ? {} : { id }), ...(delay === undefined ? {} : { scheduleDelaySeconds: Number(delay) }) }
}
