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

/** Logs failed attempts once per task and kind of failure, so that a target that is down costs one line per task, not per attempt. */
export class AttemptLog {
  readonly #logger: EmulatorLogger
  readonly #appEngineHost: AppEngineHost
  readonly #logged = new Set<string>()

  constructor (logger: EmulatorLogger, appEngineHost: AppEngineHost) {
    this.#logger = logger
    this.#appEngineHost = appEngineHost
  }

  unreachable (task: string, error: Unreachable): void {
    if (this.#isNew(`${task} ${error.kind}`)) this.#logger.warn({ task, kind: error.kind }, `attempt failed: ${error.message}`)
  }

  late (task: string, deadlineMs: number): void {
    if (this.#isNew(`${task} deadline`)) {
      this.#logger.warn({ task, kind: 'deadline' }, `attempt failed: no response within ${deadlineMs / 1000} s`)
    }
  }

  refused (task: Task, status: number): void {
    if (!this.#isNew(`${task.name} ${status}`)) return
    this.#logger.warn({ task: task.name, status }, `attempt failed: the target answered ${status}${this.#hint(task, status)}`)
  }

  /** Frameworks respond with 400 or 403 to an unknown host, and no local server knows the one that production uses. */
  #hint ({ name, appEngineHttpRequest }: Task, status: number): string {
    if (appEngineHttpRequest === undefined || this.#appEngineHost === 'url' || (status !== 400 && status !== 403)) return ''
    const host = appEngineHost(appEngineHttpRequest.appEngineRouting, parseTaskName(name)!.project)
    return `. The Host header was ${host}, as in production; if the target allows only known hosts (Django's ALLOWED_HOSTS), start the ` +
      'emulator with --app-engine-host url (appEngineHost)'
  }

  #isNew (event: string): boolean {
    if (this.#logged.has(event)) return false
    this.#logged.add(event)
    // Bounds the memory.
    if (this.#logged.size > MAX_REMEMBERED) this.#logged.delete(this.#logged.values().next().value!)
    return true
  }
}

const MAX_REMEMBERED = 10_000
