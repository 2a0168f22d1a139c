/**
 * `npm run bundlers`: bundles an app with the packed package by each bundler, as docs/bundlers.md says, and runs the bundle beside
 * nothing but what it leaves out. Needs `npm ci --prefix test/bundlers`. Exits with 1 when anything differs.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { BUNDLED_APP, CLOUD, runBundle } from '../support/bundled-app.js'
import { pack } from '../support/package.js'
import { startRecordingServer } from '../support/recording-server.js'

interface Build {
  readonly args: readonly string[]
  /** The bundle, in the folder that the bundler writes to. */
  readonly file: string
  readonly external: readonly string[]
}

const root = join(import.meta.dirname, '../..')
const GOOGLE = '@google-cloud/tasks'
const EXTERNAL = [GOOGLE, 'lmdb']
const ALL = ['fastify-cloud-tasks', 'fastify', '@sinclair/typebox', ...EXTERNAL]
const BANNER = "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url)"
const ESBUILD = ['esbuild', 'app.js', '--bundle', '--platform=node', '--log-level=error']

const builds: Readonly<Record<string, Build>> = {
  'esbuild, CommonJS': {
    args: [...ESBUILD, '--format=cjs', `--external:${GOOGLE}`, '--external:lmdb', '--outfile=out/app.cjs'],
    file: 'app.cjs',
    external: EXTERNAL
  },
  'esbuild, ESM': {
    args: [...ESBUILD, '--format=esm', `--external:${GOOGLE}`, '--external:lmdb', `--banner:js=${BANNER}`, '--outfile=out/app.mjs'],
    file: 'app.mjs',
    external: EXTERNAL
  },
  'esbuild, all packages external': {
    args: [...ESBUILD, '--format=esm', '--packages=external', '--outfile=out/app.mjs'],
    file: 'app.mjs',
    external: ALL
  },
  'tsup, CommonJS': { args: ['tsup', 'app.js', '--format', 'cjs', '--out-dir', 'out', '--silent'], file: 'app.cjs', external: ALL },
  'tsup, ESM': { args: ['tsup', 'app.js', '--format', 'esm', '--out-dir', 'out', '--silent'], file: 'app.js', external: ALL },
  ncc: { args: ['ncc', 'build', 'app.js', '-o', 'out', '-q', '-e', GOOGLE, '-e', 'lmdb'], file: 'index.js', external: EXTERNAL },
  'ncc, with a console': {
    args: [
      'ncc',
      'build',
      'app.js',
      '-o',
      'out',
      '-q',
      '-e',
      GOOGLE,
      '-e',
      'lmdb',
      '-e',
      'fastify-cloud-tasks',
      '-e',
      'fastify-cloud-tasks/console'
    ],
    file: 'index.js',
    external: ALL
  }
}

if (existsSync(join(import.meta.dirname, 'node_modules'))) await main()
else console.log('skipped: the bundlers are not installed: npm ci --prefix test/bundlers')

async function main (): Promise<void> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-bundlers-')))
  const server = await startRecordingServer()
  try {
    const app = await installApp(folder)
    for (const [name, build] of Object.entries(builds)) {
      rmSync(join(app, 'out'), { recursive: true, force: true })
      execFileSync(join(import.meta.dirname, 'node_modules/.bin', build.args[0]!), build.args.slice(1), {
        cwd: app,
        stdio: ['ignore', 'ignore', 'inherit']
      })
      const place = join(folder, name.replaceAll(/\W+/g, '-'))
      cpSync(join(app, 'out'), place, { recursive: true })
      link(app, place, build.external)
      // Without a manifest beside it, Node.js would take a .js file for CommonJS.
      if (!existsSync(join(place, 'package.json'))) writeFileSync(join(place, 'package.json'), '{ "type": "module" }')
      const [page, ...answers] = await runBundle(join(place, build.file), [
        { CONSOLE: '1' }, {}, { CLOUD_TASKS_DIRECTORY: join(place, 'queue') }, { ...CLOUD, CLOUD_TASKS_EMULATOR_HOST: server.host }
      ])
      const hasPage = build.external.includes('fastify-cloud-tasks') ? page === 200 : String(page).startsWith('FST_TASKS_PAGE_MISSING: ')
      const right = hasPage && isDeepStrictEqual(answers, ['hello Ada', 'hello Ada', { duplicate: false }])
      console[right ? 'log' : 'error'](
        `${right ? 'ok' : 'FAILED'} ${name}: page ${String(page)}; memory, directory, emulator ${JSON.stringify(answers)}`
      )
      if (!right) process.exitCode = 1
    }
  } finally {
    await server.close()
    rmSync(folder, { recursive: true })
  }
}

/** An app beside the package as it is published, with the dependencies of this checkout. */
async function installApp (folder: string): Promise<string> {
  const tarball = await pack(folder)
  const app = join(folder, 'app')
  cpSync(join(root, 'node_modules'), join(app, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  const installed = join(app, 'node_modules/fastify-cloud-tasks')
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed])
  writeFileSync(join(app, 'app.js'), BUNDLED_APP)
  writeFileSync(
    join(app, 'package.json'),
    JSON.stringify({ type: 'module', dependencies: Object.fromEntries(ALL.map(name => [name, '*'])) })
  )
  return app
}

function link (app: string, place: string, packages: readonly string[]): void {
  for (const name of packages) {
    const to = join(place, 'node_modules', name)
    mkdirSync(dirname(to), { recursive: true })
    symlinkSync(join(app, 'node_modules', name), to)
  }
}
