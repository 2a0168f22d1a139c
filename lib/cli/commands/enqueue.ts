import type { EnqueueOptions } from '../../enqueue-options.js'
import { explain } from '../../server-error.js'
import { APP_FLAG, APP_HELP, findTask, withApp, type FoundTask } from '../app.js'
import { CommandError, UsageError, codeOf, type Arguments, type Command } from '../command.js'
import { FILE_FLAG, PAYLOAD_HELP, checkPayload, explainPayload, readPayload } from '../payload.js'
import { appFlag } from './run.js'

const enqueue: Command = {
  usage: 'TASK [JSON|-] [--file FILE] [-a APP] [--id ID] [--delay SECONDS] [--queue QUEUE]',
  help: `Enqueues a task through the app's transport and prints the result as JSON: with 'cloud' in Cloud Tasks, or in the emulator at
CLOUD_TASKS_EMULATOR_HOST. The embedded queue accepts tasks from here only if it has a directory that is not in use by a server; they
then run when the server starts.

  TASK             a task's name, or the path of its route
${PAYLOAD_HELP}
${APP_HELP}
      --id ID      de-duplication key
      --delay SECONDS
                   delay of the first attempt
      --queue QUEUE
                   id of another queue than the task's own

Example: CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:8123 fastify-cloud-tasks enqueue send-receipt '{"order":"42"}' --delay 10`,
  options: { ...APP_FLAG, ...FILE_FLAG, id: { type: 'string' }, delay: { type: 'string' }, queue: { type: 'string' } },
  maxArguments: 2,

  async run (args, io) {
    const [name] = args.positionals
    if (name === undefined) throw new UsageError("missing task: 'enqueue TASK [JSON|-]'; 'list' shows the app's tasks")
    const options = readOptions(args)
    const given = await readPayload(args, io)
    return await withApp(args, io, 'open', async app => {
      const task = findTask(app, name)
      refuseMemory(task)
      const example = `fastify-cloud-tasks enqueue ${name}${appFlag(args)}`
      if (given === undefined) throw new CommandError(await explainPayload(task, example))
      await checkPayload(task, given.value, example)
      try {
        const result = await task.registration.app.enqueue(task.name, given.value, options)
        io.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
        return 0
      } catch (error) {
        throw PRINTED.includes(codeOf(error)) ? new CommandError(explain(error as Error)) : error
      }
    })
  }
}

export default enqueue

/** Errors that are printed without a stack. */
const PRINTED = ['FST_TASKS_SEND_FAILED', 'FST_TASKS_QUEUE_NOT_FOUND', 'FST_TASKS_TOO_LARGE', 'FST_TASKS_INVALID_ENQUEUE_OPTION']

function readOptions ({ values }: Arguments): EnqueueOptions {
  const { id, delay, queue } = values as Readonly<Record<string, string | undefined>>
  if (delay !== undefined && !/^\d+(?:\.\d+)?$/.test(delay)) throw new UsageError(`'--delay ${delay}' must be a number of seconds`)
  return {
    ...(id === undefined ? {} : { id }),
    ...(delay === undefined ? {} : { scheduleDelaySeconds: Number(delay) }),
    ...(queue === undefined ? {} : { queue })
  }
}

/** Tasks in memory would be lost when this process ends. */
function refuseMemory ({ name, registration: { config } }: FoundTask): void {
  if (!config.volatile) return
  throw new CommandError("the app keeps tasks in memory (transport 'local'), so other processes cannot enqueue any. " +
    `To run '${name}' now, use 'run'; to enqueue from here, start the emulator ('fastify-cloud-tasks emulator') and set ` +
    "CLOUD_TASKS_EMULATOR_HOST for the server and this command, or give the app a 'local.directory' and stop its server first")
}
