import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/**
 * Adds the packages that the page imports to its files. Only needed to run the page from source, without a build step: browsers resolve
 * modules only by URL, so each package is served as a file and imported by its path. The published package contains a bundle, and does
 * not depend on them.
 */
export async function packageModules (files: ReadonlyMap<string, Buffer>): Promise<ReadonlyMap<string, Buffer>> {
  const importer = files.get(IMPORTER)
  if (importer === undefined) return files
  const modules = await Promise.all(Object.entries(PACKAGES).map(async ([name, path]) => {
    return [path, linked(await readFile(fileURLToPath(import.meta.resolve(name))))] as const
  }))
  return new Map([...files, [IMPORTER, linked(importer)], ...modules])
}

/** The only file of the page that imports packages. */
const IMPORTER = 'htm-preact.js'

const PACKAGES: Readonly<Record<string, string>> = { htm: 'htm.js', preact: 'preact.js', 'preact/hooks': 'preact-hooks.js' }

/** Replaces the names of packages by their paths. */
function linked (bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString().replaceAll(/\bfrom\s*(["'])([^"']+)\1/g, (text: string, quote: string, name: string) => {
    return Object.hasOwn(PACKAGES, name) ? `from ${quote}./${PACKAGES[name]!}${quote}` : text
  }))
}
