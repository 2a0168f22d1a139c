import { appHelp, appOption, loadApp } from './app.js'
import { CommandError, exitCodeOf, interruption, type Command } from './command.js'
import { fileOption, payloadHelp, payloadOf, taskOf } from './payload.js'

const run: Command = {
  usage: 'TASK [JSON|-] [-a APP]',
  help: `Runs the handler of a task once, in this process, without a queue. Prints what it returns as JSON; its log goes to stderr.
To step through it: node --inspect-brk node_modules/.bin/fastify-cloud-tasks run TASK ...

${payloadHelp}
${appHelp}

Exit code: 0 when the handler returned, 1 when it threw, dropped the task or got a payload that does not fit.`,
  options: { ...appOption, ...fileOption },
  maxArguments: 2,

  async run (args, io) {
    const app = await loadApp(args.values['app'], 'look', io)
    let closing: Promise<void> | undefined
    // Closing aborts the handler's signal once its grace has passed.
    const interrupted = interruption(io.signal).then(signal => {
      closing = app.close()
      return exitCodeOf(signal)
    })
    try {
      const task = taskOf(app, args.positionals[0])
      const running = app.tasks.run(task.name, await payloadOf(task, args, io)).then(value => {
        if (value !== undefined) io.stdout.write(`${print(value)}\n`)
        return 0
      })
      return await Promise.race([running, interrupted])
    } catch (error) {
      const { code, message } = error as { readonly code?: string, readonly message: string }
      if (code === 'FST_TASKS_INVALID_PAYLOAD' || code === 'FST_TASKS_DROPPED' || code === 'FST_TASKS_NO_HANDLER') throw new CommandError(message)
      throw error
    } finally {
      await (closing ?? app.close())
    }
  }
}

export default run

function print (value: unknown): string {
  try {
    return JSON.stringify(value, undefined, 2) ?? String(value)
  } catch (error) {
    throw new CommandError(`the handler returned what has no JSON form: ${(error as Error).message.split('\n', 1)[0]}`)
  }
}
