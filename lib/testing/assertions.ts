import { AssertionError } from 'node:assert'
import { inspect } from 'node:util'
import { isPlainObject, option, readOptions, string, type Declared } from '../checks.js'
import { taskId } from '../enqueue.js'
import { compared, differences, sendable } from './comparison.js'

/** A waiting task. */
export interface EnqueuedTask<N extends string = string, P = unknown> {
  /** Name in the registry. */
  readonly name: N
  /** The `id` that `enqueue` returned. */
  readonly id: string
  /** The parsed payload as sent, without the defaults and transforms that its handler gets. */
  readonly payload: P
  readonly queue: string
  /** When its next attempt is due. */
  readonly scheduleTime: Date
  /** The headers passed to `enqueue`. */
  readonly headers: Readonly<Record<string, string>>
  /** Number of attempts so far. */
  readonly attempts: number
}

/** A partial payload: objects may have further fields, lists must have the same number of items. */
export type PartOf<P> = 0 extends 1 & P ? any : P extends object ? { readonly [K in keyof P]?: PartOf<P[K]> | undefined } : P

/** Expected properties of a task in addition to its payload. */
export interface EnqueuedWith {
  /** Either the id passed to `enqueue`, or the one that it returned. */
  readonly id?: string
  readonly queue?: string
  /** When its next attempt is due, to within a second. */
  readonly scheduleTime?: Date
  /** The task may have further headers. */
  readonly headers?: Readonly<Record<string, string>>
  /** Exact number of such tasks. @default at least one */
  readonly times?: number
}

export const enqueuedWith = {
  id: string(),
  queue: string(),
  scheduleTime: option<Date>(time => time instanceof Date && !Number.isNaN(time.getTime()) ? undefined : 'must be a valid Date'),
  headers: option<Readonly<Record<string, string>>>(headers => isPlainObject(headers) ? undefined : 'must be an object of strings'),
  times: option<number>(times => {
    return Number.isInteger(times) && Number(times) >= 1 ? undefined : 'must be a whole number, at least 1; for none use refuteEnqueued'
  })
} satisfies Declared<EnqueuedWith>

/** An assertion about enqueued tasks. */
export interface Expectation {
  readonly call: 'assertEnqueued' | 'refuteEnqueued'
  readonly name: string
  /** Partial payload, or a predicate; undefined: any. */
  readonly payload: unknown
  readonly facts: EnqueuedWith
  /** The function at which the error's stack starts. */
  readonly from: (...args: never) => unknown
}

export function readExpectation (expected: Omit<Expectation, 'facts'>, given: unknown, refuse: (problem: string) => Error): Expectation {
  const { payload } = expected
  return {
    ...expected,
    payload: typeof payload === 'function' ? predicate(payload as Predicate, refuse) : sendable(payload, refuse),
    facts: readOptions(enqueuedWith, given, { refuse })
  }
}

type Predicate = (payload: unknown) => unknown

/** Accepts what is truthy, as `Array.prototype.filter` does. */
function predicate (accepts: Predicate, refuse: (problem: string) => Error): (payload: unknown) => boolean {
  return payload => {
    const answer = accepts(payload)
    if (typeof (answer as { readonly then?: unknown } | null | undefined)?.then === 'function') {
      throw refuse('the function must return whether it accepts the payload, not a promise')
    }
    return Boolean(answer)
  }
}

/**
 * The tasks in `enqueued` that match.
 * @param ran number of tasks with this name that have ended in this test
 * @throws AssertionError
 */
export function assertEnqueued (enqueued: readonly EnqueuedTask[], expectation: Expectation, ran: number): EnqueuedTask[] {
  const { name, facts: { times } } = expectation
  const named = enqueued.filter(task => task.name === name)
  const found = named.filter(task => distance(task, expectation) === 0)
  if (times === undefined ? found.length > 0 : found.length === times) return found

  const closest = found.length > 0 ? undefined : nearestOf(named, expectation)
  const actual = closest === undefined ? enqueued.map(brief) : factsOf(closest, expectation)
  const expected = closest === undefined ? { name, ...expectedFacts(expectation) } : expectedFacts(expectation)
  const lines = [
    `Expected ${times === undefined ? 'a task' : counted(times)} ${describe(expectation)} to be enqueued, ` +
      `but found ${found.length || 'none'}.`,
    ...(closest === undefined ? [] : ['', `Closest is number ${enqueued.indexOf(closest) + 1} below:`, diff(actual, expected), '']),
    listing(enqueued),
    ...(ran === 0 ? [] : [`${counted(ran)} of this name already ended; drain() and advance() have returned the attempts.`])
  ]
  throw new AssertionError({ message: lines.join('\n'), actual, expected, operator: expectation.call, stackStartFn: expectation.from })
}

/** @throws AssertionError if a task in `enqueued` matches */
export function refuteEnqueued (enqueued: readonly EnqueuedTask[], expectation: Expectation): void {
  const found = enqueued.filter(task => task.name === expectation.name && distance(task, expectation) === 0)
  if (found.length === 0) return
  throw new AssertionError({
    message: `Expected no task ${describe(expectation)} to be enqueued.\n${listing(found)}`,
    actual: found.map(brief),
    expected: [],
    operator: expectation.call,
    stackStartFn: expectation.from
  })
}

/** Number of differences between a task and an expectation; 0 if it matches. */
function distance (task: EnqueuedTask, expectation: Expectation): number {
  const { payload } = expectation
  const refused = typeof payload === 'function' && payload(task.payload) !== true ? 1 : 0
  return refused + differences(factsOf(task, expectation), expectedFacts(expectation))
}

/** Undefined without tasks, and if they only differ in what a predicate says of them. */
function nearestOf (tasks: readonly EnqueuedTask[], expectation: Expectation): EnqueuedTask | undefined {
  if (Object.keys(expectedFacts(expectation)).length === 0) return undefined
  const ranked = tasks.map(task => ({ task, distance: distance(task, expectation) }))
  return ranked.sort((a, b) => a.distance - b.distance)[0]?.task
}

/** The properties of a task that the expectation names, in the same form, so that both can be compared and shown. */
function factsOf (task: EnqueuedTask, { name, payload, facts }: Expectation): object {
  return {
    ...(payload === undefined || typeof payload === 'function' ? {} : { payload: compared(task.payload, payload) }),
    ...(facts.id === undefined ? {} : { id: task.id === taskId(name, facts.id) ? facts.id : task.id }),
    ...(facts.queue === undefined ? {} : { queue: task.queue }),
    ...(facts.scheduleTime === undefined ? {} : { scheduleTime: sameSecond(task.scheduleTime, facts.scheduleTime).toISOString() }),
    ...(facts.headers === undefined ? {} : { headers: compared(lowerCase(task.headers), lowerCase(facts.headers)) })
  }
}

function expectedFacts ({ payload, facts: { times, scheduleTime, headers, ...facts } }: Expectation): object {
  return {
    ...(payload === undefined || typeof payload === 'function' ? {} : { payload }),
    ...facts,
    ...(headers === undefined ? {} : { headers: lowerCase(headers) }),
    ...(scheduleTime === undefined ? {} : { scheduleTime: scheduleTime.toISOString() })
  }
}

/** Names of headers do not differ by case. */
function lowerCase (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** Returns the expected time if the actual one is within a second, because both were read from a clock at different times. */
function sameSecond (actual: Date, expected: Date): Date {
  return Math.abs(actual.getTime() - expected.getTime()) <= 1000 ? expected : actual
}

function describe ({ name, payload, ...rest }: Expectation): string {
  const facts = expectedFacts({ name, payload: undefined, ...rest })
  const wanted = payload === undefined ? '' : typeof payload === 'function' ? ' that the function accepts' : ` with ${print(payload)}`
  return `'${name}'${wanted}${Object.keys(facts).length === 0 ? '' : ` and ${print(facts)}`}`
}

function listing (tasks: readonly EnqueuedTask[]): string {
  if (tasks.length === 0) return 'Nothing is enqueued.'
  const lines = tasks.slice(0, MAX_LISTED).map(({ name, payload, queue, scheduleTime }, index) =>
    `  ${index + 1}. ${name} ${print(payload)}, queue '${queue}', due ${scheduleTime.toISOString()}`)
  const more = tasks.length > MAX_LISTED ? [`  and ${tasks.length - MAX_LISTED} more`] : []
  return [`${counted(tasks.length)} enqueued:`, ...lines, ...more].join('\n')
}

function brief ({ name, payload }: EnqueuedTask): object {
  return { name, payload }
}

function print (value: unknown): string {
  return inspect(value, { breakLength: Infinity, depth: 4, maxArrayLength: 10, maxStringLength: 100 })
}

/** The diff of node:assert, without its first line. */
function diff (actual: unknown, expected: unknown): string {
  const { message } = new AssertionError({ actual, expected, operator: 'deepStrictEqual' })
  return message.slice(message.indexOf('\n') + 1)
}

function counted (tasks: number): string {
  return `${tasks} ${tasks === 1 ? 'task' : 'tasks'}`
}

const MAX_LISTED = 20
