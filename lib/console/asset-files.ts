import { createRequire } from 'node:module'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface Asset {
  readonly type: string
  readonly bytes: Buffer
}

/** A file of the page by its path below `assets/`; undefined when there is none. The page itself is `index.html`. */
export async function readAsset (path: string): Promise<Asset | undefined> {
  const type = TYPES[path.slice(path.lastIndexOf('.') + 1)]
  if (type === undefined || !/^(?:[\w-]+\/)*[\w-]+(?:\.[\w-]+)+$/.test(path)) return undefined
  try {
    return { type, bytes: await readFile(placeOf(path)) }
  } catch (error) {
    if (['ENOENT', 'EISDIR', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code!)) return undefined
    throw error
  }
}

function placeOf (path: string): string {
  // From its own package, so that its version is the one that was installed.
  if (path === 'htm-preact.js') return join(dirname(createRequire(import.meta.url).resolve('htm')), '../preact/standalone.module.js')
  return join(import.meta.dirname, 'assets', path)
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml'
}
