import { FST_TASKS_CONSOLE_REQUEST } from '../../errors.js'

/** The error of a rejected request. */
export function requestError (problem: string, statusCode: number = 400): Error {
  return Object.assign(new FST_TASKS_CONSOLE_REQUEST(problem), { statusCode })
}
