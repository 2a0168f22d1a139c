/**
 * Takes the types out of TypeScript as it is loaded, once for all processes of the tests. Other loaders look into every file of every
 * package too, which costs each process more than the files of this repository do.
 */
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const { version } = createRequire(import.meta.url)('esbuild/package.json')
const cache = join(import.meta.dirname, '../../node_modules/.cache/fastify-cloud-tasks')
mkdirSync(cache, { recursive: true })

export function resolve (specifier, context, next) {
  if (!/^\.\.?\/.*\.js$/.test(specifier) || !isTypeScript(context.parentURL ?? '')) return next(specifier, context)
  const url = new URL(specifier.replace(/js$/, 'ts'), context.parentURL)
  return existsSync(url) ? { url: url.href, format: 'module', shortCircuit: true } : next(specifier, context)
}

export async function load (url, context, next) {
  if (!isTypeScript(url)) return await next(url, context)
  return { format: 'module', source: await compile(fileURLToPath(new URL(url))), shortCircuit: true }
}

/** Resolves with a file's JavaScript. */
export async function compile (sourcefile) {
  const typescript = await readFile(sourcefile, 'utf8')
  const compiled = join(cache, `${createHash('sha1').update(`${version}\n${sourcefile}\n${typescript}`).digest('hex')}.js`)
  return await readFile(compiled, 'utf8').catch(async () => {
    const { transform } = await import('esbuild')
    const { code } = await transform(typescript, {
      loader: 'ts',
      sourcefile,
      sourcemap: 'inline',
      sourcesContent: false,
      target: 'es2023',
      tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } }
    })
    // In one step, as other processes read it.
    const draft = `${compiled}.${randomUUID()}`
    await writeFile(draft, code)
    await rename(draft, compiled)
    return code
  })
}

function isTypeScript (url) {
  return /^file:.*\.ts(?:\?.*)?$/.test(url)
}
