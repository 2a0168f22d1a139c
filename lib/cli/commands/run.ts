import { inspect } from 'node:util'
import { explain } from '../../server-error.js'
import { APP_FLAG, APP_HELP, findTask, withApp, type FoundTask } from '../app.js'
import { CommandError, UsageError, codeOf, exitCodeOf, type Arguments, type Command, type Io } from '../command.js'
import { DEBUG_FLAGS, openDebugger, pauseForDebugger } from '../debugger.js'
import { FILE_FLAG, PAYLOAD_HELP, checkPayload, explainPayload, readPayload } from '../payload.js'

const run: Command = {
  usage: 'TASK [JSON|-] [--file FILE] [-a APP] [--inspect|--inspect-brk]',
  help: `Runs the handler of a task once, in this process: without a queue, without HTTP, without a deadline. Log lines and the
handler's output go to stderr, its return value goes to stdout as JSON. Ctrl-C aborts task.signal; a second one exits at once.

  TASK             a task's name, or the path of its route
${PAYLOAD_HELP}
${APP_HELP}
      --inspect[=[HOST:]PORT], --inspect-brk[=[HOST:]PORT]
                   lets a debugger attach, like node's flags; -brk waits for it, and breaks before the app loads
Exit codes: 0 the handler returned, 1 it failed, 2 invalid usage, 3 it dropped its task, 4 it postponed it, 130 or 143 interrupted.

Examples:
  fastify-cloud-tasks run send-receipt '{"order":"42"}'
  echo '{"order":"42"}' | fastify-cloud-tasks run send-receipt - -a dist/app.js | jq`,
  options: { ...APP_FLAG, ...FILE_FLAG, ...DEBUG_FLAGS },
  maxArguments: 2,

  async run (args, io) {
    const [name] = args.positionals
    if (name === undefined) throw new UsageError("missing task: 'run TASK [JSON|-]'; 'list' shows the app's tasks")
    const given = await readPayload(args, io)
    openDebugger(args, io)
    return await withApp(args, io, 'closed', async app => {
      const task = findTask(app, name)
      if (!task.handler) {
        throw new CommandError(`task '${name}' has no handler in this app; ` +
          "add one to the option 'handlers', or set another app with '-a APP'")
      }
      const example = `fastify-cloud-tasks run ${name}${appFlag(args)}`
      if (given === undefined) throw new CommandError(await explainPayload(task, example))
      await checkPayload(task, given.value, example)
      return await runHandler(task, given.value, io)
    }, pauseForDebugger(args))
  }
}

export default run

/** The flag as typed, so that examples can be pasted. */
export function appFlag ({ values }: Arguments): string {
  return typeof values.app === 'string' ? ` -a ${values.app}` : ''
}

async function runHandler ({ name, registration }: FoundTask, payload: unknown, io: Io): Promise<number> {
  const onAbort = (): void => { io.stderr.write('task.signal has aborted; waiting for the handler (press again to exit at once)\n') }
  io.signal.addEventListener('abort', onAbort)
  let value: unknown
  try {
    value = await registration.app.tasks.run(name, payload)
  } catch (error) {
    if (codeOf(error) === 'FST_TASKS_DROPPED') throw new CommandError(explain(error as Error), 3)
    if (codeOf(error) === 'FST_TASKS_POSTPONED') throw new CommandError(explain(error as Error), 4)
    // With its stack, for debugging.
    io.stderr.write(`${inspect(error)}\n`)
    return io.signal.aborted ? exitCodeOf(io.signal.reason as NodeJS.Signals) : 1
  } finally {
    io.signal.removeEventListener('abort', onAbort)
  }
  if (value !== undefined) io.stdout.write(`${print(name, value)}\n`)
  return io.signal.aborted ? exitCodeOf(io.signal.reason as NodeJS.Signals) : 0
}

function print (name: string, value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value, null, 2)
  } catch (error) {
    const problem = (error as Error).message
    throw new CommandError(`the handler of '${name}' succeeded, but its return value has no JSON representation: ${problem}`)
  }
  if (text === undefined) throw new CommandError(`the handler of '${name}' succeeded, but a ${typeof value} has no JSON representation`)
  return text
}
