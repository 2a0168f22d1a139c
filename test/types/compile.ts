import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { compile, root, type Complaint } from '../support/compiler.js'

export interface Variant {
  readonly program: 'registered' | 'schemas' | 'unregistered'
  /** Other texts for some files, by path from the root of the repository; of `lib`, the declarations. New files come into being. */
  readonly edits?: Readonly<Record<string, (text: string) => string>>
}

/**
 * What the compiler says about the type tests of each of `variants`, held against the declarations of `lib`. One run checks
 * them all, which reads what they have in common once. Errors elsewhere do not count.
 */
export async function complaints (variants: readonly Variant[]): Promise<Complaint[][]> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-types-')))
  try {
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    const declarations = join(folder, 'lib')
    const faults = await compile(root, '-p', 'tsconfig.build.json', '--noCheck', '--emitDeclarationOnly', '--sourceMap', 'false', '--inlineSources', 'false', '--outDir', declarations)
    if (faults.length > 0) throw new Error(JSON.stringify(faults))
    const programs = variants.map((variant, index) => write(join(folder, String(index)), declarations, variant))
    const found = await compile(folder, '--build', '--singleThreaded', ...programs)
    return variants.map(({ program }, index) => {
      const own = [String(index), 'test', 'types', program, ''].join(sep)
      return found.filter(({ file }) => join(file).startsWith(own)).map(one => ({ ...one, file: join(one.file).slice(own.length) }))
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Replaces the one place that says `text`; that it is there is part of the test. */
export function replace (text: string, by: string): (source: string) => string {
  return source => {
    if (source.split(text).length !== 2) throw new Error(`not found exactly once: ${text}`)
    return source.replace(text, () => by)
  }
}

/** Writes a checkout with all that a variant needs, and returns the folder of its program. */
function write (folder: string, declarations: string, { program, edits = {} }: Variant): string {
  mkdirSync(folder)
  // A link is read once for all programs, and takes no edits.
  if (Object.keys(edits).some(path => path.startsWith('lib/'))) cpSync(declarations, join(folder, 'lib'), { recursive: true })
  else symlinkSync(declarations, join(folder, 'lib'))
  for (const path of ['package.json', 'tsconfig.json', 'test/types']) cpSync(join(root, path), join(folder, path), { recursive: true })
  for (const [path, edit] of Object.entries(edits)) {
    const file = join(folder, path)
    writeFileSync(file, edit(read(file)))
  }
  return join(folder, 'test/types', program)
}

function read (file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}
