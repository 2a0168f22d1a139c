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

/** The page and its assets. */
export interface PageFiles {
  /** Part of the URL of every asset. It changes with the content of any asset, so that browsers can cache them forever. */
  readonly version: string
  readonly index: PageFile
  /** By the path below `assets/`. */
  readonly assets: ReadonlyMap<string, PageFile>
}

/**
 * Reads the page's files into memory. Not served by @fastify/static, which would add 24 packages to every installation for the seven
 * files in the published package.
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
  const version = versionOf(assets)
  return { version, assets, index: pageFile('index.html', Buffer.from(html.replaceAll('="assets/', `="assets/${version}/`))) }
}

/** The same for the same assets, in any order. */
export function versionOf (assets: ReadonlyMap<string, Pick<PageFile, 'etag'>>): string {
  return hash(Array.from(assets, ([path, { etag }]) => `${path} ${etag}`).sort().join())
}

/** The folder of the page's files. @throws FST_TASKS_PAGE_MISSING if it does not exist, such as in a bundle */
export function pageFolder (): string {
  // Bundlers that emit CommonJS leave it undefined.
  const here = import.meta.dirname as string | undefined
  // Relative to this file in the source, or to the chunk of the published package that contains this code.
  const places = here === undefined ? [] : ['../assets', '../console/assets'].map(path => join(here, path))
  const folder = places.find(path => existsSync(join(path, 'index.html')))
  if (folder === undefined) throw new FST_TASKS_PAGE_MISSING()
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
