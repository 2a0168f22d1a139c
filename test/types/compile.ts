import { resolve } from 'node:path'
import ts from 'typescript'

export type Program = 'registered' | 'unregistered'

/** Other texts for some files, by path from the root of the repository. Files that are not on disk come into being. */
export type Edits = Readonly<Record<string, (text: string) => string>>

export interface Complaint {
  readonly file: string
  /** 1 for the first. */
  readonly line: number
  readonly message: string
}

const root = resolve(import.meta.dirname, '../..')
const unedited = new Map<string, ts.SourceFile | undefined>()

/** What the compiler says about the type tests of `program` once `edits` are made, in memory. Errors elsewhere do not count. */
export function complaints (program: Program, edits: Edits = {}): Complaint[] {
  const folder = resolve(import.meta.dirname, program)
  const { config, error } = ts.readConfigFile(resolve(folder, 'tsconfig.json'), ts.sys.readFile)
  if (error !== undefined) throw new Error(ts.flattenDiagnosticMessageText(error.messageText, '\n'))
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, folder)

  const texts = new Map(Object.entries(edits).map(([path, edit]) => {
    const file = resolve(root, path)
    return [file, edit(ts.sys.readFile(file) ?? '')] as const
  }))
  const added = [...texts.keys()].filter(file => file.startsWith(folder) && !fileNames.includes(file))
  const compiled = ts.createProgram([...fileNames, ...added], options, editedHost(options, texts))

  return compiled.getSourceFiles()
    .filter(file => file.fileName.startsWith(folder))
    .flatMap(file => [...compiled.getSyntacticDiagnostics(file), ...compiled.getSemanticDiagnostics(file)])
    .map(({ file, start = 0, messageText }) => ({
      file: file!.fileName.slice(folder.length + 1),
      line: file!.getLineAndCharacterOfPosition(start).line + 1,
      message: ts.flattenDiagnosticMessageText(messageText, '\n')
    }))
}

/** Replaces the one place that says `text`; that it is there is part of the test. */
export function replace (text: string, by: string): (source: string) => string {
  return source => {
    if (source.split(text).length !== 2) throw new Error(`not found exactly once: ${text}`)
    return source.replace(text, () => by)
  }
}

/** Reads from disk, except for `texts`. What comes from disk is parsed once for all programs. */
function editedHost (options: ts.CompilerOptions, texts: ReadonlyMap<string, string>): ts.CompilerHost {
  const host = ts.createCompilerHost(options, true)
  return {
    ...host,
    fileExists: file => texts.has(file) || host.fileExists(file),
    readFile: file => texts.get(file) ?? host.readFile(file),
    getSourceFile (file, languageVersion, ...rest) {
      const text = texts.get(file)
      if (text !== undefined) return ts.createSourceFile(file, text, languageVersion, true)
      if (!unedited.has(file)) unedited.set(file, host.getSourceFile(file, languageVersion, ...rest))
      return unedited.get(file)
    }
  }
}
