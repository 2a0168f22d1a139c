import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, parse } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Whether the file is TypeScript by its extension. */
export function isTypeScript (path: string): boolean {
  return /\.[cm]?tsx?$/.test(path)
}

/**
 * Makes this process able to load the TypeScript module at `path`, by what its app has installed: tsx, or ts-node for a CommonJS
 * package. Otherwise Node.js must do it itself, as it does from 22.18 on for types that can be erased.
 * @returns how to load the module
 */
export async function prepareTypeScript (path: string, nodeFlags: string): Promise<'import' | 'require'> {
  // @fastify/autoload knows some loaders by the flags of Node.js only, and refuses TypeScript otherwise.
  process.env.FASTIFY_AUTOLOAD_TYPESCRIPT ??= '1'
  if (LOADERS.test(nodeFlags)) return isCommonJs(path) && /ts-node/.test(nodeFlags) ? 'require' : 'import'
  const require = createRequire(path)
  const tsx = resolved(require, 'tsx')
  if (tsx !== undefined) {
    // What `node --import tsx` imports: it works for what is loaded from now on.
    await import(pathToFileURL(tsx).href)
    return 'import'
  }
  const tsNode = isCommonJs(path) ? resolved(require, 'ts-node/register/transpile-only') : undefined
  if (tsNode === undefined) return 'import'
  // It looks for tsconfig.json from here on.
  process.env.TS_NODE_CWD ??= dirname(path)
  // TypeScript 6 asks for it wherever files are written, and none are: any root does.
  process.env.TS_NODE_COMPILER_OPTIONS ??= JSON.stringify({ rootDir: parse(path).root })
  require(tsNode)
  return 'require'
}

/** A loader that Node.js was started with, by its flags or by NODE_OPTIONS, is the user's choice. */
const LOADERS = /\b(?:tsx|ts-node|tsimp|tsm|swc-node|swc|esbuild-register|babel|loader)\b/

/** The missing .ts file behind a missing .js file, which Node.js does not look for and loaders do. */
export function hasTypeScriptSource (url: string | undefined): boolean {
  return url?.startsWith('file:') === true && existsSync(fileURLToPath(url).replace(/\.([cm]?)js$/, '.$1ts'))
}

function resolved (require: NodeJS.Require, specifier: string): string | undefined {
  try {
    return require.resolve(specifier)
  } catch {
    return undefined
  }
}

/** By the extension, or else by the `type` of the nearest package. */
function isCommonJs (path: string): boolean {
  if (/\.cts$/.test(path)) return true
  if (/\.mts$/.test(path)) return false
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    if (existsSync(manifest)) return (JSON.parse(readFileSync(manifest, 'utf8')) as { readonly type?: string }).type !== 'module'
    if (folder === dirname(folder)) return true
  }
}
