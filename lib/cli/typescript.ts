import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, parse } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Whether the file is TypeScript by its extension. */
export function isTypeScript (path: string): boolean {
  return /\.[cm]?tsx?$/.test(path)
}

/**
 * Prepares this process to load the TypeScript module at `path` with the loader that is installed in its app: tsx, or ts-node for a
 * CommonJS package. Otherwise Node.js must load it, as it does since 22.18 for erasable syntax.
 * @returns how to load the module
 */
export async function prepareTypeScript (path: string, nodeFlags: string): Promise<'import' | 'require'> {
  // @fastify/autoload detects some loaders only by Node.js's flags, and ignores TypeScript otherwise.
  process.env.FASTIFY_AUTOLOAD_TYPESCRIPT ??= '1'
  if (LOADERS.test(nodeFlags)) return isCommonJs(path) && /ts-node/.test(nodeFlags) ? 'require' : 'import'
  const require = createRequire(path)
  const tsx = resolved(require, 'tsx')
  if (tsx !== undefined) {
    // Same as `node --import tsx`, for all modules that are loaded from now on.
    await import(pathToFileURL(tsx).href)
    return 'import'
  }
  const tsNode = isCommonJs(path) ? resolved(require, 'ts-node/register/transpile-only') : undefined
  if (tsNode === undefined) return 'import'
  // The folder from which it searches for tsconfig.json.
  process.env.TS_NODE_CWD ??= dirname(path)
  // Required by TypeScript 6 for emitted files; there are none, so any root works.
  process.env.TS_NODE_COMPILER_OPTIONS ??= JSON.stringify({ rootDir: parse(path).root })
  require(tsNode)
  return 'require'
}

/** Loaders that were chosen by the user, with Node.js's flags or NODE_OPTIONS. */
const LOADERS = /\b(?:tsx|ts-node|tsimp|tsm|swc-node|swc|esbuild-register|babel|loader)\b/

/** Whether a missing .js file exists as a .ts file, which loaders resolve but Node.js does not. */
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

/** Decides by the extension, or else by the `type` of the nearest package. */
function isCommonJs (path: string): boolean {
  if (/\.cts$/.test(path)) return true
  if (/\.mts$/.test(path)) return false
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    if (existsSync(manifest)) return (JSON.parse(readFileSync(manifest, 'utf8')) as { readonly type?: string }).type !== 'module'
    if (folder === dirname(folder)) return true
  }
}
