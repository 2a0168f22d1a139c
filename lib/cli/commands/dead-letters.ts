import { nearest } from '../../checks.js'
import { systemClock } from '../../clock/clock.js'
import { parseDuration } from '../../clock/duration.js'
import type { DeadLetter, DeadLetterFilter, DeadLetterResult, DeadLetters } from '../../dead-letters/dead-letters.js'
import type { PluginHandle } from '../../plugin-handle.js'
import { explain } from '../../server-error.js'
import { APP_FLAG, APP_HELP, findTask, withApp, type LoadedApp } from '../app.js'
import { CommandError, UsageError, codeOf, exitCodeOf, type Arguments, type Command, type Io } from '../command.js'
import { LetterReport, letterTable } from '../letter-report.js'
import { printJson } from '../table.js'

const ACTIONS = ['list', 'replay', 'discard']

const deadLetters: Command = {
  usage: 'list|replay|discard [ID...] [--all] [--task TASK] [--code CODE] [--older-than AGE] [--as TASK]\n' +
    '                                        [--dry-run] [--json] [-a APP]',
  help: `Shows, replays or discards the tasks whose last attempt failed, which the option 'deadLetterQueue' of an app keeps: in Cloud
Tasks, on the emulator that CLOUD_TASKS_EMULATOR_HOST names, or in the directory of an app with the transport 'local', whose server must
be stopped meanwhile.

  list             shows them, the latest first
  replay           enqueues each again, as a new task in the queue that it was in, and then deletes the letter
  discard          deletes them for good
  ID               of a letter, as 'list' shows it. Without one, 'replay' and 'discard' need a filter or --all
      --all        all letters
      --task TASK  those of this task; its name may be one that the app no longer has
      --code CODE  those whose error has this code
      --older-than AGE
                   those that ended longer ago: 30m, 12h, 14d
      --as TASK    replays as this task of the app, where the letter's own was renamed or removed
      --dry-run    prints which letters 'replay' and 'discard' would take, and changes nothing
      --json       prints an array of objects instead
${APP_HELP}

Exit codes: 0 done, 1 some could not be replayed or discarded or the service could not be reached, 2 wrong usage, 130 or 143 it was
interrupted; what was printed by then is done.

Examples:
  fastify-cloud-tasks dead-letters list --task call-webhook -a dist/app.js
  fastify-cloud-tasks dead-letters replay --task call-webhook --code ETIMEDOUT --dry-run
  fastify-cloud-tasks dead-letters discard --older-than 14d`,
  options: {
    ...APP_FLAG,
    all: { type: 'boolean' },
    task: { type: 'string' },
    code: { type: 'string' },
    'older-than': { type: 'string' },
    as: { type: 'string' },
    'dry-run': { type: 'boolean' },
    json: { type: 'boolean' }
  },
  maxArguments: Infinity,

  async run (args, io) {
    const request = readRequest(args)
    return await withApp(args, io, 'open', async app => {
      const queues = letterQueues(app, request)
      try {
        return request.action === 'list' ? await list(queues, request, io) : await change(queues, request, io)
      } catch (error) {
        if (io.signal.aborted) return exitCodeOf(io.signal.reason as NodeJS.Signals)
        throw codeOf(error).startsWith('FST_TASKS_') ? new CommandError(explain(error as Error)) : error
      }
    })
  }
}

export default deadLetters

interface Request {
  readonly action: 'list' | 'replay' | 'discard'
  readonly ids: readonly string[]
  readonly filter: DeadLetterFilter
  readonly as: string | undefined
  readonly dryRun: boolean
  readonly json: boolean
}

function readRequest ({ positionals, values }: Arguments): Request {
  const [action, ...ids] = positionals
  if (action === undefined) throw new UsageError("'dead-letters list', 'replay' or 'discard'?")
  if (action !== 'list' && action !== 'replay' && action !== 'discard') {
    throw new UsageError(`'dead-letters' can 'list', 'replay' and 'discard', not '${action}'${nearest(action, ACTIONS)}`)
  }
  const filter = readFilter(values)
  const [isFiltered, all, as] = [Object.keys(filter).length > 0, values.all === true, values.as as string | undefined]
  if (as !== undefined && action !== 'replay') throw new UsageError(`'--as' is for 'replay', not for '${action}'`)
  if (action === 'list') {
    if (ids.length > 0) throw new UsageError(`'list' shows all letters or those of a filter; unexpected argument '${ids[0]}'`)
    if (values['dry-run'] === true) throw new UsageError("'list' changes nothing, so it has no '--dry-run'")
    if (all && isFiltered) throw new UsageError("'--all' and a filter are mutually exclusive")
  } else if ([ids.length > 0, isFiltered, all].filter(Boolean).length !== 1) {
    throw new UsageError(`which letters? '${action}' needs ids, --all, or a filter (--task, --code, --older-than)`)
  }
  return { action, ids, filter, as, dryRun: values['dry-run'] === true, json: values.json === true }
}

function readFilter (values: Arguments['values']): DeadLetterFilter {
  const { task, code, 'older-than': age } = values as Readonly<Record<string, string | undefined>>
  const seconds = age === undefined ? undefined : parseDuration(age)
  if (age !== undefined && seconds === undefined) {
    throw new UsageError(`'--older-than ${age}' must be a duration such as 30m, 12h or 14d`)
  }
  return {
    ...(task === undefined ? undefined : { task }),
    ...(code === undefined ? undefined : { code }),
    ...(seconds === undefined ? undefined : { before: new Date(systemClock.now() - seconds * 1000) })
  }
}

/**
 * The dead letters of each registration, once per queue.
 * @throws CommandError
 */
function letterQueues (app: LoadedApp, { as }: Request): DeadLetters[] {
  const keeping = as === undefined ? app.registrations : [findTask(app, as).registration]
  const byQueue = new Map<string, PluginHandle>()
  for (const registration of keeping) {
    const { deadLetterQueue, embedded, directory, project, location } = registration.config
    if (deadLetterQueue === undefined) continue
    byQueue.set(JSON.stringify(embedded ? [directory, deadLetterQueue] : [project, location, deadLetterQueue]), registration)
  }
  if (byQueue.size === 0) {
    throw new CommandError("the app keeps no dead letters; give it the option 'deadLetterQueue', or set " +
      'CLOUD_TASKS_DEAD_LETTER_QUEUE as where it is deployed')
  }
  const queues = [...byQueue.values()]
  if (queues.every(({ config }) => config.volatile)) {
    throw new CommandError("the app keeps its queues in memory (transport 'local'), which no other process " +
      'reaches; call app.tasks.deadLetters in it, or use the console')
  }
  return queues.filter(({ config }) => !config.volatile).map(registration => registration.app.tasks.deadLetters)
}

async function list (queues: readonly DeadLetters[], { filter, json }: Request, io: Io): Promise<number> {
  const letters: DeadLetter[] = []
  for (const queue of queues) for await (const page of pagesOf(queue, filter)) letters.push(...page)
  letters.sort((a, b) => (b.time?.getTime() ?? -1) - (a.time?.getTime() ?? -1))
  if (json) io.stdout.write(`${printJson(letters)}\n`)
  else io.stdout.write(letters.length === 0 ? 'no dead letters\n' : letterTable(letters))
  return 0
}

async function change (queues: readonly DeadLetters[], request: Request, io: Io): Promise<number> {
  const report = new LetterReport(request, io)
  try {
    if (request.dryRun) await choose(queues, request, report)
    else if (request.ids.length > 0) await changeIds(queues, request, report)
    else await changeFiltered(queues, request, report, io)
  } finally {
    report.end()
  }
  return io.signal.aborted ? exitCodeOf(io.signal.reason as NodeJS.Signals) : report.exitCode
}

async function choose (queues: readonly DeadLetters[], { ids, filter }: Request, report: LetterReport): Promise<void> {
  for (const queue of queues) {
    for await (const page of pagesOf(queue, filter)) report.chosen(ids.length === 0 ? page : page.filter(({ id }) => ids.includes(id)))
  }
}

async function changeIds (queues: readonly DeadLetters[], request: Request, report: LetterReport): Promise<void> {
  let left = request.ids
  for (const [at, queue] of queues.entries()) {
    const results = await act(queue, left, request)
    // A letter can be in another queue.
    const isLast = at === queues.length - 1
    report.done(results.filter(({ outcome }) => isLast || outcome !== 'notFound'))
    left = results.filter(({ outcome }) => outcome === 'notFound').map(({ id }) => id)
  }
}

async function changeFiltered (queues: readonly DeadLetters[], request: Request, report: LetterReport, { signal }: Io): Promise<void> {
  for (const queue of queues) {
    // All of them first: a replayed task that fails again leaves a letter that fits the filter, too.
    const ids: string[] = []
    for await (const page of pagesOf(queue, request.filter)) ids.push(...page.map(({ id }) => id))
    for (let from = 0; from < ids.length; from += CHUNK) {
      if (signal.aborted) return
      report.done(await act(queue, ids.slice(from, from + CHUNK), request))
    }
  }
}

async function act (queue: DeadLetters, ids: readonly string[], { action, as }: Request): Promise<DeadLetterResult[]> {
  return action === 'replay' ? await queue.replay(ids, as === undefined ? {} : { as }) : await queue.discard(ids)
}

async function * pagesOf (queue: DeadLetters, filter: DeadLetterFilter): AsyncGenerator<readonly DeadLetter[]> {
  for (let pageToken: string | undefined; ;) {
    const { letters, nextPageToken } = await queue.list({ ...filter, pageSize: 1000, ...(pageToken === undefined ? {} : { pageToken }) })
    yield letters
    if (nextPageToken === undefined) return
    pageToken = nextPageToken
  }
}

/** Number of letters after which interruptions are checked. */
const CHUNK = 100
