import { appHelp, appOption, loadApp } from './app.js'
import type { Command } from './command.js'

const list: Command = {
  usage: '[--json] [-a APP]',
  help: `Shows the tasks of an app: name, method, path, queue, and whether a handler is mounted. Opens no queue.

${appHelp}
  --json           prints JSON, schemas included`,
  options: { ...appOption, json: { type: 'boolean' } },

  async run ({ values }, io) {
    const app = await loadApp(values['app'], 'look', io)
    try {
      const tasks = app.tasks.list().map(({ counts, ...task }) => task)
      io.stdout.write(values['json'] === true ? `${JSON.stringify(tasks, undefined, 2)}\n` : table(tasks))
      return 0
    } finally {
      await app.close()
    }
  }
}

export default list

type Row = Readonly<Record<'name' | 'method' | 'path' | 'queue', string>> & { readonly handler: boolean }

function table (tasks: readonly Row[]): string {
  const rows = [['NAME', 'METHOD', 'PATH', 'QUEUE', 'HANDLER'], ...tasks.map(task => [task.name, task.method, task.path, task.queue, task.handler ? 'yes' : 'no'])]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  return rows.map(row => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd() + '\n').join('')
}
