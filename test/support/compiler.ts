import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
// Its program in Go by itself: the script before it does not load behind the hooks of a test runner.
import getExePath from '../../node_modules/typescript-native/lib/getExePath.js'

export interface Complaint {
  /** From the folder in which the compiler ran. */
  readonly file: string
  /** 1 for the first. */
  readonly line: number
  readonly message: string
}

export const root = resolve(import.meta.dirname, '../..')

/** The compiler in Go. Beside it lies one in JavaScript, for those who need its API; both call themselves `tsc`. */
const tsc: string = getExePath()

/** Runs the compiler in `folder` and returns what it complains of. Throws when that has no place in a file. */
export async function compile (folder: string, ...args: string[]): Promise<Complaint[]> {
  return await compileWith([tsc], folder, ...args)
}

/** As `compile`, by the compiler that `command` runs. */
export async function compileWith ([program, ...before]: readonly string[], folder: string, ...args: string[]): Promise<Complaint[]> {
  const { code, output } = await new Promise<{ code: unknown, output: string }>(resolve => {
    execFile(program!, [...before, ...args, '--pretty', 'false'], { cwd: folder, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? error?.signal ?? 0, output: stdout + stderr })
    })
  })
  const complaints = parse(output)
  if (complaints === undefined || (complaints.length === 0) !== (code === 0)) {
    throw new Error(`tsc ${args.join(' ')} ended with ${String(code)}: ${output}`)
  }
  return complaints
}

/** Each complaint begins a line; what explains it is indented below. Undefined where there is anything else. */
function parse (output: string): Complaint[] | undefined {
  const complaints: Array<{ file: string, line: number, message: string }> = []
  for (const line of output.split('\n')) {
    const [, file, number, message] = /^(\S.*?)\((\d+),\d+\): error (?:TS\d+): (.*)$/.exec(line) ?? []
    if (file !== undefined) complaints.push({ file, line: Number(number), message: message! })
    else if (line.startsWith(' ') && complaints.length > 0) complaints.at(-1)!.message += `\n${line}`
    else if (line !== '') return undefined
  }
  return complaints
}
