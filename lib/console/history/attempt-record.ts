import type { Task } from '../../cloud-tasks/task.js'
import type { AttemptInfo, AttemptResult, ErrorInfo } from '../api/api.js'
import { sizeOf } from './error-info.js'
import type { LogLines } from './log-lines.js'
import { attemptHeaders } from '../api/task-view.js'

/** What is remembered of one attempt. Its headers are made from the task when somebody looks. */
export class AttemptRecord {
  /** 1 for the first. */
  readonly number: number
  readonly startedAt: number
  readonly then: Pick<Task, 'dispatchCount' | 'executionCount' | 'scheduleAt' | 'previousResponse'>
  endedAt: number | undefined
  result: AttemptResult | undefined
  text: string | undefined
  logs: LogLines | undefined
  error: ErrorInfo | undefined
  dropReason: string | undefined
  retryAt: number | undefined

  /** @param task its state after dispatch */
  constructor ({ dispatchCount, executionCount, scheduleAt, previousResponse, lastAttempt }: Task) {
    this.number = dispatchCount
    this.startedAt = lastAttempt!.dispatchAt
    this.then = { dispatchCount, executionCount, scheduleAt, ...(previousResponse === undefined ? undefined : { previousResponse }) }
  }

  /** Characters beyond what every attempt takes. */
  get chars (): number {
    return (this.logs?.chars ?? 0) + (this.text?.length ?? 0) + (this.dropReason?.length ?? 0) + (this.error === undefined ? 0 : sizeOf(this.error))
  }

  /** @param task what it was sent of, where that is known */
  info (task: Task | undefined): AttemptInfo {
    const { number, startedAt, endedAt, result, text, logs, error, dropReason, retryAt } = this
    return {
      number,
      startedAt,
      ...(endedAt === undefined ? undefined : { endedAt }),
      ...(result === undefined ? undefined : { result }),
      headers: task === undefined ? {} : attemptHeaders(task, this.then),
      ...(text === undefined ? undefined : { text }),
      logs: logs?.lines() ?? [],
      logsOmitted: logs?.omitted ?? 0,
      ...(error === undefined ? undefined : { error }),
      ...(dropReason === undefined ? undefined : { dropReason }),
      ...(retryAt === undefined ? undefined : { retryAt })
    }
  }
}
