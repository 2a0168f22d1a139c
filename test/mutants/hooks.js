/** Loads a file of tests anew for each run (`FILE?run=N`), and gives it the root test of that run for `tap`. All else stays loaded. */
const sources = new Map()

export function resolve (specifier, context, next) {
  const run = specifier === 'tap' && context.parentURL?.match(/\?run=(\d+)$/)?.[1]
  return run ? { url: `tap-run:${run}`, format: 'module', shortCircuit: true } : next(specifier, context)
}

export async function load (url, context, next) {
  const run = url.match(/^tap-run:(\d+)$/)?.[1]
  if (run) return { format: 'module', source: `export default globalThis.tapRuns.get(${run})`, shortCircuit: true }
  const file = url.match(/^(.*)\?run=\d+$/)?.[1]
  if (file === undefined) return await next(url, context)
  if (!sources.has(file)) sources.set(file, await next(url, context))
  return { ...sources.get(file), shortCircuit: true }
}
