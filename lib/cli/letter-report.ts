import type { DeadLetter, DeadLetterResult } from '../dead-letters/dead-letters.js'
import type { Io } from './command.js'
import { printJson, printable, table } from './table.js'

interface ReportedRequest {
  readonly action: 'list' | 'replay' | 'discard'
  readonly dryRun: boolean
  readonly json: boolean
}

/** Prints results as they arrive, or all of them at the end as JSON. */
export class LetterReport {
  readonly #request: ReportedRequest
  readonly #io: Io
  readonly #letters: DeadLetter[] = []
  readonly #results: DeadLetterResult[] = []

  constructor (request: ReportedRequest, io: Io) {
    this.#request = request
    this.#io = io
  }

  get exitCode (): 0 | 1 {
    return this.#failed === 0 ? 0 : 1
  }

  get #failed (): number {
    return this.#results.filter(({ outcome }) => outcome === 'failed' || outcome === 'notFound').length
  }

  /** What a dry run would do. */
  chosen (letters: readonly DeadLetter[]): void {
    this.#letters.push(...letters)
  }

  done (results: readonly DeadLetterResult[]): void {
    this.#results.push(...results)
    if (this.#request.json) return
    for (const result of results) (result.outcome === 'failed' ? this.#io.stderr : this.#io.stdout).write(lineOf(result))
  }

  end (): void {
    const { action, dryRun, json } = this.#request
    const done = action === 'replay' ? 'replayed' : 'discarded'
    let text: string
    if (json) text = `${printJson(dryRun ? this.#letters : this.#results)}\n`
    else if (dryRun) text = `${letterTable(this.#letters)}${this.#letters.length} would be ${done}\n`
    else text = `${this.#results.length - this.#failed} ${done}${this.#failed === 0 ? '' : `, ${this.#failed} not`}\n`
    this.#io.stdout.write(text)
  }
}

/** Empty if there are none. */
export function letterTable (letters: readonly DeadLetter[]): string {
  return letters.length === 0 ? '' : table(HEADINGS, letters.map(row))
}

function lineOf ({ id, outcome, problem }: DeadLetterResult): string {
  if (outcome === 'notFound') return `${printable(id)}: there is no such letter\n`
  return `${printable(id)}: ${outcome}${problem === undefined ? '' : `: ${printable(problem)}`}\n`
}

const HEADINGS = ['ID', 'TASK', 'QUEUE', 'ATTEMPTS', 'ENDED', 'ERROR']

/** The facts of a letter are untrusted text. */
function row ({ id, task, path, queue, attempts, time, error }: DeadLetter): string[] {
  return [id, task ?? path, queue ?? '-', String(attempts ?? '-'), time?.toISOString() ?? '-', errorText(error)].map(printable)
}

function errorText (error: DeadLetter['error']): string {
  if (error === undefined) return '-'
  const code = error.code === undefined ? '' : ` ${error.code}`
  const text = `${error.name}${code}: ${error.message}`
  return text.length <= MAX_ERROR ? text : `${text.slice(0, MAX_ERROR - 1)}…`
}

const MAX_ERROR = 100
