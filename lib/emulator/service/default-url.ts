import { parseQueueName } from '../../cloud-tasks/names.js'

/** The URL for a task without one: `{project}`, `{location}` and `{queue}` are replaced by the parts of the queue's name. */
export function defaultUrlOf (template: string, queue: string): string {
  const parts: Readonly<Record<string, string>> = { ...parseQueueName(queue) }
  return template.replace(/\{(project|location|queue)\}/g, (all, part: string) => parts[part] ?? all)
}
