import { APP_FLAG, APP_HELP, tasksOfApp, withApp, type FoundTask } from '../app.js'
import type { Command } from '../command.js'
import { table } from '../table.js'

const list: Command = {
  usage: '[-a APP] [--json]',
  help: `Shows every task of an app: its name, the method and path of its route, its queue, and whether the app has a handler for it.
Nothing is dispatched, and no credentials are needed.

${APP_HELP}
      --json       prints an array of objects instead of a table, payload schemas included

Example: fastify-cloud-tasks list -a dist/app.js`,
  options: { ...APP_FLAG, json: { type: 'boolean' } },

  async run (args, io) {
    return await withApp(args, io, 'closed', async app => {
      const tasks = tasksOfApp(app)
      if (args.values.json === true) io.stdout.write(`${JSON.stringify(tasks.map(listed), null, 2)}\n`)
      else io.stdout.write(table(HEADINGS, tasks.map(row)))
      return 0
    })
  }
}

export default list

function listed ({ name, method, path, queue, handler, schema }: FoundTask): object {
  return { name, method, path, queue, handler, schema }
}

function row ({ name, method, path, queue, handler }: FoundTask): string[] {
  return [name, method, path, queue, handler ? 'yes' : 'no']
}

const HEADINGS = ['NAME', 'METHOD', 'PATH', 'QUEUE', 'HANDLER']
