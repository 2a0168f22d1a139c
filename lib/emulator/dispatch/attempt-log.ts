import { parseTaskName } from '../../cloud-tasks/names.js'
import { appEngineHost } from '../../cloud-tasks/size.js'
import type { Task } from '../../cloud-tasks/task.js'
import type { AppEngineHost } from './outgoing-request.js'
import type { Unreachable } from './unreachable.js'

/** Receives what an emulator logs. A pino logger fits, such as `app.log`. */
export interface EmulatorLogger {
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

/** Logs failed attempts, once per task and kind of failure: a target that is down then costs one line per task, not per attempt. */
export class AttemptLog {
  readonly #logger: EmulatorLogger
  readonly #appEngineHost: AppEngineHost
  readonly #logged = new Set<string>()

  constructor (logger: EmulatorLogger, appEngineHost: AppEngineHost) {
    this.#logger = logger
    this.#appEngineHost = appEngineHost
  }

  unreachable (task: string, error: Unreachable): void {
    if (this.#isNew(`${task} ${error.kind}`)) this.#logger.warn({ task, kind: error.kind }, `an attempt failed: ${error.message}`)
  }

  late (task: string, deadlineMs: number): void {
    if (this.#isNew(`${task} deadline`)) {
      this.#logger.warn({ task, kind: 'deadline' }, `an attempt failed: no answer within ${deadlineMs / 1000} s`)
    }
  }

  refused (task: Task, status: number): void {
    if (!this.#isNew(`${task.name} ${status}`)) return
    this.#logger.warn({ task: task.name, status }, `an attempt failed: the target answered ${status}${this.#hint(task, status)}`)
  }

  /** Frameworks answer 400 or 403 to a host that they do not know, and production's is one that no local server knows. */
  #hint ({ name, appEngineHttpRequest }: Task, status: number): string {
    if (appEngineHttpRequest === undefined || this.#appEngineHost === 'url' || (status !== 400 && status !== 403)) return ''
    const host = appEngineHost(appEngineHttpRequest.appEngineRouting, parseTaskName(name)!.project)
    return `. It was called as ${host}, as in production; if it accepts only names that it knows (Django's ALLOWED_HOSTS), start the ` +
      'emulator with --app-engine-host url (appEngineHost)'
  }

  #isNew (event: string): boolean {
    if (this.#logged.has(event)) return false
    this.#logged.add(event)
    // The oldest are forgotten, which bounds the memory.
    if (this.#logged.size > MAX_REMEMBERED) this.#logged.delete(this.#logged.values().next().value!)
    return true
  }
}

const MAX_REMEMBERED = 10_000
