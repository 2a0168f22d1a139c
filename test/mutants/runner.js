/** The plugins that Stryker loads: a test runner that keeps `lib/` loaded from mutant to mutant, and what is not mutated. */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { commonTokens, declareClassPlugin, declareValuePlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin'
import { chosen } from './sample.js'

const PROGRAM = join(import.meta.dirname, 'test-run.js')
/** What the worker of the first run leaves for the others, in the sandbox. */
const NOTES = 'mutants-notes.json'
const LOG_CALL = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])

class InProcessRunner {
  static inject = tokens(commonTokens.options)
  #options
  #runFile
  #notes
  /** Whether no mutant has run in this process. */
  #fresh = true
  #dirty = false

  constructor (options) {
    this.#options = options
  }

  capabilities () {
    return { reloadEnvironment: true }
  }

  async init () {
    const { runFile } = await import('./test-run.js')
    this.#runFile = runFile
    globalThis.__stryker__ ??= {}
  }

  /** Runs all tests without a mutant; each file counts as one test. */
  async dryRun ({ files, testFiles }) {
    const ns = globalThis.__stryker__
    const tests = []
    const names = testFiles.map(file => relative(process.cwd(), file))
    const reached = new Map(names.map(name => [name, importsOf(join(process.cwd(), name))]))
    // What only loading a module runs is known by loading the modules first.
    for (const file of files) if ([...reached.values()].some(imports => imports.has(file))) await import(pathToFileURL(file).href)
    for (const name of names) {
      const begin = Date.now()
      ns.currentTestId = name
      const failure = await this.#runFile(name)
      ns.currentTestId = undefined
      tests.push({
        id: name,
        name,
        fileName: join(process.cwd(), name),
        timeSpentMs: Date.now() - begin,
        ...(failure === undefined ? { status: 0 } : { status: 1, failureMessage: failure })
      })
    }
    const coverage = ns.mutantCoverage ?? { static: {}, perTest: {} }
    const atLoad = Object.keys(coverage.static)
    for (const file of files) {
      const own = new Set([...readFileSync(file, 'utf8').matchAll(/stryMutAct_9fa48\("(\d+)"\)/g)].map(([, id]) => id))
      for (const id of atLoad.filter(id => own.has(id))) {
        for (const name of names.filter(name => reached.get(name).has(file))) {
          const counts = coverage.perTest[name] ??= {}
          counts[id] = (counts[id] ?? 0) + coverage.static[id]
        }
      }
    }
    const times = Object.fromEntries(tests.map(({ id, timeSpentMs }) => [id, timeSpentMs]))
    writeFileSync(NOTES, JSON.stringify({ atLoad, times }))
    return { status: 'complete', tests, mutantCoverage: { static: {}, perTest: coverage.perTest } }
  }

  async mutantRun ({ activeMutant, testFilter, hitLimit }) {
    if (!chosen(activeMutant.id, this.#options.sample)) return { status: 'error', errorMessage: 'not in the sample' }
    if (this.#dirty) throw new Error('a new process is needed')
    this.#notes ??= JSON.parse(readFileSync(NOTES, 'utf8'))
    const { atLoad, times } = this.#notes
    const names = [...testFilter].sort((a, b) => times[a] - times[b])
    if (atLoad.includes(activeMutant.id)) return await inNewProcess(activeMutant.id, names)
    const fresh = this.#fresh
    this.#fresh = false
    const ns = globalThis.__stryker__
    Object.assign(ns, { hitCount: 0, hitLimit: hitLimit ?? Infinity })
    for (const [index, name] of names.entries()) {
      const failure = await this.#mutated(activeMutant.id, name)
      if (ns.hitCount > ns.hitLimit) return { status: 'timeout', reason: 'reached too often' }
      if (failure === undefined) continue
      // A test that fails without the mutant too shows that an earlier mutant has left something behind.
      this.#dirty = await this.#runFile(name) !== undefined
      if (this.#dirty && !fresh) throw new Error('a new process is needed')
      return { status: 'killed', killedBy: [name], failureMessage: failure, nrOfTests: index + 1 }
    }
    // What runs once in a process, such as a lazy constant, has run before.
    return ns.hitCount === 0 ? await inNewProcess(activeMutant.id, names) : { status: 'survived', nrOfTests: names.length }
  }

  async #mutated (id, name) {
    const ns = globalThis.__stryker__
    // Processes that a test starts see the variable.
    process.env.__STRYKER_ACTIVE_MUTANT__ = ns.activeMutant = id
    try {
      return await this.#runFile(name)
    } finally {
      ns.activeMutant = undefined
      delete process.env.__STRYKER_ACTIVE_MUTANT__
    }
  }
}

async function inNewProcess (id, names) {
  const child = spawn(process.execPath, [PROGRAM, ...names], {
    stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, __STRYKER_ACTIVE_MUTANT__: id }
  })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', chunk => { output = (output + chunk).slice(-1000) })
  const code = await new Promise(resolve => { child.once('close', resolve) })
  return code === 0
    ? { status: 'survived', nrOfTests: names.length }
    : { status: 'killed', killedBy: [names.find(name => output.includes(name)) ?? names[0]], failureMessage: output, nrOfTests: names.length }
}

/** All modules of the sandbox that `file` imports, directly or not. */
function importsOf (file, seen = new Set()) {
  const source = readFileSync(file, 'utf8')
  for (const [, specifier] of source.matchAll(/^(?!\s*import type\b).*?(?:\bfrom|\bimport\(?)\s*['"](\.\.?\/[^'"]+)\.js['"]/gm)) {
    const imported = `${join(dirname(file), specifier)}.ts`
    if (seen.has(imported)) continue
    try {
      importsOf(imported, seen.add(imported))
    } catch {
      // JavaScript, or text that only looks like an import.
    }
  }
  return seen
}

/** A message's prose and log lines: tests check codes and facts. */
function shouldIgnore (path) {
  if (path.isStringLiteral() && isProse(path.node.value)) return 'prose'
  if (path.isTemplateLiteral() && isProse(path.node.quasis.map(({ value }) => value.cooked).join('x'))) return 'prose'
  const callee = path.isCallExpression() || path.isOptionalCallExpression() ? path.node.callee : undefined
  return LOG_CALL.has(callee?.property?.name) && /(^|\.|#)log(ger)?$/i.test(path.get('callee.object').toString()) ? 'log line' : undefined
}

/** Three words and more. */
function isProse (text) {
  return /[a-z]['",]? ['"]?[a-z]+['",]? ['"]?[a-z]/i.test(text)
}

export const strykerPlugins = [
  declareClassPlugin(PluginKind.TestRunner, 'in-process', InProcessRunner),
  declareValuePlugin(PluginKind.Ignore, 'prose', { shouldIgnore })
]
