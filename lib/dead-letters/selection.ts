import { callable, checkOptions, integer, isPlainObject, option, readOptions, string, type Declared } from '../checks.js'
import { FST_TASKS_INVALID_LETTER_QUERY } from '../errors.js'
import type { DeadLetter } from './letter.js'

/** Which dead letters; all conditions hold. `{}` is all of them. */
export interface DeadLetterFilter<N extends string = string> {
  /** Name in the registry, or one that is no longer there. */
  readonly task?: N | (string & {})
  /** Tasks that ended before. */
  readonly before?: Date
  /** Tasks that ended then or later. */
  readonly after?: Date
  /** Code of the error, such as `FST_TASKS_DEADLINE_EXCEEDED`. */
  readonly code?: string
}

export interface DeadLetterQuery<N extends string = string> extends DeadLetterFilter<N> {
  /** Letters to look at for one page, 1 to 1000. With a filter a page may be short, or empty, and have a next one. @default 100 */
  readonly pageSize?: number
  readonly pageToken?: string
}

export interface DeadLetterOptions {
  /**
   * Called after each page of letters that was looked at, and then each time that some of those that fit are done, those that failed
   * included.
   */
  readonly onProgress?: (progress: { readonly looked: number, readonly done: number }) => void
}

export interface ReplayOptions<N extends string = string> extends DeadLetterOptions {
  /** The task to replay as, for letters of tasks that were renamed or removed. @default what it was */
  readonly as?: N
}

/** One id, several, or all that a filter fits. */
export type DeadLetterSelection<N extends string = string> = string | readonly string[] | DeadLetterFilter<N>

export function fits ({ task, time, error }: DeadLetter, filter: DeadLetterFilter): boolean {
  if (filter.task !== undefined && filter.task !== task) return false
  if (filter.code !== undefined && filter.code !== error?.code) return false
  if (filter.before !== undefined && !(time !== undefined && time < filter.before)) return false
  return filter.after === undefined || (time !== undefined && time >= filter.after)
}

/** A condition that is misspelt or undefined would select all. */
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
