import { callable, checkOptions, integer, isPlainObject, option, readOptions, string, type Declared } from '../checks.js'
import { FST_TASKS_INVALID_LETTER_QUERY } from '../errors.js'
import type { DeadLetter } from './letter.js'

/** Selects dead letters that match all conditions; `{}` selects all. */
export interface DeadLetterFilter<N extends string = string> {
  /** Name in the registry, or a former one. */
  readonly task?: N | (string & {})
  /** Tasks that ended before this time. */
  readonly before?: Date
  /** Tasks that ended at this time or later. */
  readonly after?: Date
  /** Code of the error, such as `FST_TASKS_DEADLINE_EXCEEDED`. */
  readonly code?: string
}

export interface DeadLetterQuery<N extends string = string> extends DeadLetterFilter<N> {
  /** Number of letters to examine for a page, 1 to 1000. With a filter, even a short or empty page can have a next one. @default 100 */
  readonly pageSize?: number
  readonly pageToken?: string
}

export interface DeadLetterOptions {
  /**
   * Called after each examined page of letters, and then whenever some of the matching ones are done, including failures.
   */
  readonly onProgress?: (progress: { readonly looked: number, readonly done: number }) => void
}

export interface ReplayOptions<N extends string = string> extends DeadLetterOptions {
  /** Name of another task to replay as, for tasks that were renamed or removed. @default the same task */
  readonly as?: N
}

/** One id, several, or a filter. */
export type DeadLetterSelection<N extends string = string> = string | readonly string[] | DeadLetterFilter<N>

export function fits ({ task, time, error }: DeadLetter, filter: DeadLetterFilter): boolean {
  if (filter.task !== undefined && filter.task !== task) return false
  if (filter.code !== undefined && filter.code !== error?.code) return false
  if (filter.before !== undefined && !(time !== undefined && time < filter.before)) return false
  return filter.after === undefined || (time !== undefined && time >= filter.after)
}

/** Rejects misspelt and undefined conditions, which would select all letters. */
export function checkFilter (filter: unknown): asserts filter is DeadLetterFilter {
  if (!isPlainObject(filter)) throw refuse('give an id, a list of ids, or a filter such as { task }; {} is all of them')
  checkOptions(filterOptions, filter, { refuse })
  for (const [key, value] of Object.entries(filter)) {
    if (value === undefined) throw refuse(`'${key}' is undefined; leave it out for all`)
  }
}

export function readQuery (query: unknown): DeadLetterQuery & { readonly pageSize: number } {
  const { pageSize, pageToken, ...filter } = readOptions(queryOptions, query, { refuse })
  const { pageSize: _size, pageToken: _token, ...given } = query as DeadLetterQuery
  checkFilter(given)
  return { ...filter, pageSize, ...(pageToken === undefined ? undefined : { pageToken }) }
}

export function checkDiscardOptions (options: unknown): asserts options is DeadLetterOptions {
  checkOptions(discardOptions, options, { refuse })
}

export function checkReplayOptions (options: unknown): asserts options is ReplayOptions {
  checkOptions(replayOptions, options, { refuse })
}

const validDate = () => option<Date>(value => {
  return value instanceof Date && !Number.isNaN(value.getTime()) ? undefined : 'must be a valid Date'
})

const filterOptions = { task: string(), before: validDate(), after: validDate(), code: string() } satisfies Declared<DeadLetterFilter>

const queryOptions = {
  ...filterOptions,
  pageSize: integer(1, 1000, { default: 100 }),
  pageToken: string()
} satisfies Declared<DeadLetterQuery>

const discardOptions = { onProgress: callable<NonNullable<DeadLetterOptions['onProgress']>>() } satisfies Declared<DeadLetterOptions>

const replayOptions = { ...discardOptions, as: string() } satisfies Declared<ReplayOptions>

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_LETTER_QUERY(problem)
}
