/**
 * Builds dist/: the package as ES modules with shared chunks, its declarations, and the console's page. Bundled, because Node loads a
 * dozen large modules in a third of the time of a hundred small ones. Run by `npm run build`.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { build } from 'esbuild'
import { rolldown } from 'rolldown'

const root = resolve(import.meta.dirname, '..')
process.chdir(root)
const { exports, bin } = JSON.parse(readFileSync('package.json', 'utf8'))
/** Small and without dependencies: loading it separately would take a tenth of the total time. */
const BUNDLED = ['fastest-levenshtein']

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript-native/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
copyCommonJsTypes()
removePrivateTypes()
await bundlePackage()
await bundlePage()

/** The modules that users import and run, which keep their paths. */
function entries () {
  const files = [...Object.values(exports).flatMap(entry => entry.import?.default ?? []), ...Object.values(bin)]
  return Object.fromEntries(files.map(file => relative('dist', file).replace(/\.js$/, '')).map(name => [name, `lib/${name}.ts`]))
}

/** The modules of an app with the embedded queue form one chunk. Others are loaded on demand: a transport, a store, a command. */
async function bundlePackage () {
  const plugin = resolve('lib/index.ts')
  let core
  const bundle = await rolldown({ input: entries(), platform: 'node', external: isExternal, tsconfig: false, onLog: fail })
  await bundle.write({
    dir: 'dist',
    format: 'esm',
    sourcemap: true,
    comments: false,
    chunkFileNames: 'chunks/[name]-[hash].js',
    codeSplitting: { groups: [{ debugName: 'core', name: (id, modules) => (core ??= reach(plugin, modules)).has(id) ? 'core' : null }] }
  })
}

/** Other packages are external, except for those that are not installed with this one. */
function isExternal (id) {
  return !id.startsWith('.') && !isAbsolute(id) && !BUNDLED.includes(id)
}

/** All static imports of a module, including transitive ones. */
function reach (id, modules, found = new Set()) {
  if (found.has(id)) return found
  found.add(id)
  for (const imported of modules.getModuleInfo(id)?.importedIds ?? []) reach(imported, modules, found)
  return found
}

function fail (level, { message }) {
  if (level === 'warn') throw new Error(message)
}

/** Bundles the page into one script, so that its packages need not be installed. */
async function bundlePage () {
  const [from, to] = ['lib/console/assets', 'dist/console/assets']
  const files = ['main.js', 'console.css', 'colours.css'].map(file => join(from, file))
  await build({
    entryPoints: files, outdir: to, bundle: true, format: 'esm', target: 'es2023', minify: true, charset: 'utf8', logLevel: 'warning'
  })
  for (const file of ['index.html', 'first-paint.js', 'icon.svg']) copyFileSync(join(from, file), join(to, file))
  const licenses = ['preact', 'htm'].map(name => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8')}`)
  writeFileSync(join(to, 'LICENSES.txt'), licenses.join('\n\n'))
}

/** The declarations for CommonJS modules are written by hand; the compiler does not copy them. */
function copyCommonJsTypes () {
  for (const file of filesIn('lib').filter(file => file.endsWith('.d.cts'))) {
    mkdirSync(join('dist', dirname(file)), { recursive: true })
    copyFileSync(join('lib', file), join('dist', file))
  }
}

/** Removes declarations that are not reachable from an export. */
function removePrivateTypes () {
  const reached = new Set()
  const follow = file => {
    if (reached.has(file) || !existsSync(file)) return
    reached.add(file)
    const imports = readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*["'](\.[^"']+)\.js["']/g)
    for (const [, path] of imports) follow(join(dirname(file), `${path}.d.ts`))
  }
  for (const entry of Object.values(exports)) {
    for (const types of [entry.import?.types, entry.require?.types]) if (types !== undefined) follow(join(types))
  }
  for (const file of filesIn('dist').map(file => join('dist', file))) {
    if (/\.d\.c?ts$/.test(file) && !reached.has(file)) rmSync(file)
  }
}

function filesIn (folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(relative(folder, entry.parentPath), entry.name))
}
