import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { FST_TASKS_PAGE_MISSING } from '../../errors.js'
import { packageModules } from './packages.js'

/** A file of the page, in memory. */
export interface PageFile {
  readonly type: string
  readonly bytes: Buffer
  /** Strong. */
  readonly etag: string
}

/** The page with all that it loads. */
export interface PageFiles {
  /** Part of the URL of every asset. It changes with the content of any, so that browsers may cache them for ever. */
  readonly version: string
  readonly index: PageFile
  /** By the path below `assets/`. */
  readonly assets: ReadonlyMap<string, PageFile>
}

/**
 * Reads the page's files. There are seven in the published package, which is why they are
 * kept in memory instead of served by @fastify/static: that would add 24 packages to every installation.
 */
export async function readPageFiles (): Promise<PageFiles> {
  const folder = pageFolder()
  const paths = await readdir(folder, { recursive: true })
  const read = await Promise.all(paths.filter(path => typeOf(path) !== undefined).map(async path => {
    return [path.split(sep).join('/'), await readFile(join(folder, path))] as const
  }))
  const files = new Map(await packageModules(new Map(read)))
  const html = files.get('index.html')!.toString()
  files.delete('index.html')
  const assets = new Map(Array.from(files, ([path, bytes]) => [path, pageFile(path, bytes)]))
  const version = hash(Array.from(assets, ([path, { etag }]) => `${path} ${etag}`).sort().join('\n'))
  return { version, assets, index: pageFile('index.html', Buffer.from(html.replaceAll('="assets/', `="assets/${version}/`))) }
}

/** Where the files are. @throws FST_TASKS_PAGE_MISSING where they are not, as in a bundle */
export function pageFolder (): string {
  // Bundlers that write CommonJS leave it undefined.
  const here = import.meta.dirname as string | undefined
  // Beside the folder of this file, or seen from the chunk of the published package that this code is in.
  const folder = ['../assets', '../console/assets'].map(path => join(here ?? '', path)).find(path => existsSync(join(path, 'index.html')))
  if (here === undefined || folder === undefined) throw new FST_TASKS_PAGE_MISSING()
  return folder
}

function pageFile (path: string, bytes: Buffer): PageFile {
  return { type: typeOf(path)!, bytes, etag: `"${hash(bytes)}"` }
}

function hash (content: string | Buffer): string {
  return createHash('sha256').update(content).digest('base64url').slice(0, 16)
}

function typeOf (path: string): string | undefined {
  return TYPES[path.slice(path.lastIndexOf('.') + 1)]
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml'
}
