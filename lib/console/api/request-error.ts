import { FST_TASKS_CONSOLE_REQUEST } from '../../errors.js'

/** A request that the console does not carry out. */
export function requestError (problem: string, statusCode: number = 400): Error {
  return Object.assign(new FST_TASKS_CONSOLE_REQUEST(problem), { statusCode })
}
