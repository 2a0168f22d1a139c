import { isDeepStrictEqual } from 'node:util'
import { program, type Ended, type Place } from '../check.js'

/** `gcloud tasks`, or `gcloud beta tasks`, against the emulator. Records which flags of which command were used. */
export class Gcloud {
  readonly place: Place
  readonly track: 'beta' | undefined
  readonly #configuration: string
  readonly #location: readonly string[]
  readonly #used = new Map<string, Set<string>>()

  /** @param location flags for commands that take a location */
  constructor (place: Place, configuration: string, location: readonly string[], track?: 'beta') {
    this.place = place
    this.track = track
    this.#configuration = configuration
    this.#location = location
  }

  /** The command must succeed and print JSON that includes all of `expected`. */
  async run (args: readonly string[], expected?: object): Promise<void> {
    const { code, out, err } = await this.#call(args, ['--format=json'])
    if (code !== 0) throw new Error(`${this.#line(args)}: ${err.trim()}`)
    if (expected !== undefined && !includes(JSON.parse(out), expected)) throw new Error(`${this.#line(args)} printed ${out}`)
    this.place.say(this.#line(args))
  }

  /** The command must succeed and print this text. */
  async prints (args: readonly string[], expected: RegExp): Promise<void> {
    const { code, out, err } = await this.#call(args, [])
    if (code !== 0 || !expected.test(out)) throw new Error(`${this.#line(args)} printed ${out}${err}`)
    this.place.say(this.#line(args))
  }

  /** The command must fail and say this on stderr. */
  async refused (args: readonly string[], says: RegExp): Promise<void> {
    const { code, err } = await this.#call(args, ['--format=json'])
    if (code === 0 || !says.test(err)) throw new Error(`${this.#line(args)} was not refused with ${says}: ${err.trim()}`)
    this.place.say(`${this.#line(args)} is refused`)
  }

  /** Every flag of every command below `gcloud tasks`, as its help lists them, must have been used. */
  async everyFlagWasUsed (): Promise<void> {
    const leftOut: string[] = []
    for (const command of await this.#commands([])) {
      for (const flag of flagsIn(await this.#help(command))) {
        if (this.#used.get(command.join(' '))?.has(flag) !== true) leftOut.push(`${command.join(' ')} ${flag}`)
      }
    }
    if (leftOut.length > 0) throw new Error(`not called: ${leftOut.join(', ')}`)
    this.place.say(`${this.#line([])}: every flag of every command was used`)
  }

  async #commands (group: readonly string[]): Promise<string[][]> {
    const help = await this.#help(group)
    const commands = entriesOf(help, 'COMMANDS').map(name => [...group, name])
    const below = await Promise.all(entriesOf(help, 'GROUPS').map(async name => await this.#commands([...group, name])))
    return [...commands, ...below.flat()]
  }

  async #help (command: readonly string[]): Promise<string> {
    const { code, out, err } = await program('gcloud', [...this.#words(command), '--help'], {
      env: { ...process.env, CLOUDSDK_CONFIG: this.#configuration, PAGER: 'cat' }
    })
    if (code !== 0) throw new Error(`${this.#line(command)} --help: ${err.trim()}`)
    // eslint-disable-next-line no-control-regex
    return out.replace(/\x1b\[[\d;]*m/g, '')
  }

  async #call (args: readonly string[], output: readonly string[]): Promise<Ended> {
    const location = args[0] === 'locations' ? [] : this.#location
    this.#record([...args, ...location])
    const { url } = this.place.emulator
    return await program('gcloud', [...this.#words(args), ...location, ...output, '--quiet'], {
      env: {
        ...process.env,
        CLOUDSDK_CONFIG: this.#configuration,
        CLOUDSDK_CORE_PROJECT: 'demo',
        CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
        CLOUDSDK_AUTH_DISABLE_CREDENTIALS: 'true',
        CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS: `${url}/`,
        CLOUDSDK_API_ENDPOINT_OVERRIDES_APPENGINE: `${url}/`
      }
    })
  }

  #record (args: readonly string[]): void {
    const words = args.filter(arg => !arg.startsWith('-'))
    const command = GROUPS.has(words[0]!) ? `${words[0]!} ${words[1]!}` : words[0]!
    const used = this.#used.get(command) ?? new Set()
    for (const arg of args) if (arg.startsWith('--')) used.add(arg.split('=', 1)[0]!)
    this.#used.set(command, used)
  }

  #words (args: readonly string[]): string[] {
    return [...(this.track === undefined ? [] : [this.track]), 'tasks', ...args]
  }

  #line (args: readonly string[]): string {
    const shown = args.map(arg => arg.startsWith('--') ? arg.split('=', 1)[0]! : arg)
    return `${this.#words(shown).join(' ')}${this.#location.length === 0 ? ' (no --location)' : ''}`
  }
}

/** Flags of the command itself, without those that every command has. */
function flagsIn (help: string): string[] {
  const synopsis = help.slice(help.indexOf('\nSYNOPSIS'), help.indexOf('\nDESCRIPTION'))
  return [...new Set(synopsis.match(/--[a-z][a-z-]+/g))]
}

/** Names in a section of a group's help. */
function entriesOf (help: string, section: string): string[] {
  const start = help.indexOf(`\n${section}\n`)
  if (start === -1) return []
  const text = help.slice(start + section.length + 2)
  const end = /\n[A-Z]/.exec(text)?.index ?? text.length
  return text.slice(0, end).split('\n').flatMap(line => /^ {5}([a-z][a-z-]*)$/.exec(line)?.[1] ?? [])
}

/** Whether all of `part` is in `whole`, at any depth; lists must be of the same length. */
function includes (whole: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null || typeof whole !== 'object' || whole === null) return isDeepStrictEqual(whole, part)
  if (Array.isArray(part) && (!Array.isArray(whole) || whole.length !== part.length)) return false
  return Object.entries(part).every(([key, value]) => includes((whole as Record<string, unknown>)[key], value))
}

const GROUPS: ReadonlySet<string> = new Set(['queues', 'locations', 'cmek-config'])
