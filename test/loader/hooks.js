/**
 * Takes the types out of TypeScript as it is loaded. Other loaders look into every file of every package too, which costs
 * each process of the tests more than the files of this repository do.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { transform } from 'esbuild'

export function resolve (specifier, context, next) {
  if (!/^\.\.?\/.*\.js$/.test(specifier) || !isTypeScript(context.parentURL ?? '')) return next(specifier, context)
  const url = new URL(specifier.replace(/js$/, 'ts'), context.parentURL)
  return existsSync(url) ? { url: url.href, format: 'module', shortCircuit: true } : next(specifier, context)
}

export async function load (url, context, next) {
  if (!isTypeScript(url)) return await next(url, context)
  const sourcefile = fileURLToPath(new URL(url))
  const { code } = await transform(await readFile(sourcefile, 'utf8'), {
    loader: 'ts',
    sourcefile,
    sourcemap: 'inline',
    sourcesContent: false,
    target: 'es2023',
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } }
  })
  return { format: 'module', source: code, shortCircuit: true }
}

function isTypeScript (url) {
  return /^file:.*\.ts(?:\?.*)?$/.test(url)
}
