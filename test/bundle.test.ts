import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build, type BuildOptions } from 'esbuild'
import t from 'tap'
import { BUNDLED_APP, CLOUD, runBundle } from './support/bundled-app.js'
import { root } from './support/compiler.js'
import { startRecordingServer } from './support/recording-server.js'

t.setTimeout(120_000)

const folder = t.testdir({ 'app.js': BUNDLED_APP })
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')

/** As docs/bundlers.md says. */
const banner = {
  js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url)"
}

/** The app with the plugin and all it needs in one file, less what is `external`. */
async function bundle (format: 'cjs' | 'esm', external: string[]): Promise<string> {
  const outfile = join(folder, `${format}-${external.length}.${format === 'cjs' ? 'cjs' : 'mjs'}`)
  const options: BuildOptions = {
    entryPoints: [join(folder, 'app.js')],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    external,
    logLevel: 'error',
    alias: { 'fastify-cloud-tasks/console': join(root, 'lib/console/plugin.ts'), 'fastify-cloud-tasks': join(root, 'lib/index.ts') }
  }
  await build({ ...options, ...(format === 'esm' ? { banner } : {}) })
  return outfile
}

for (const format of ['cjs', 'esm'] as const) {
  t.test(
    `a bundle (${format}) with everything in it runs tasks in memory, and else does not start and says what must stay external`,
    async t => {
      const file = await bundle(format, [])
      const [memory, cloud, emulator, directory] = await runBundle(file, [
        {},
        CLOUD,
        { ...CLOUD, CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:8123' },
        { CLOUD_TASKS_DIRECTORY: t.testdir({}) }
      ])
      t.equal(memory, 'hello Ada')
      const refused =
        /^FST_TASKS_CLIENT_UNAVAILABLE: The client library @google-cloud\/tasks could not be loaded \(.+\);.* must be external .*docs\/bundlers\.md$/
      t.match(cloud, refused)
      t.match(emulator, refused)
      t.match(directory, /^FST_TASKS_STORE_UNAVAILABLE: .*lmdb does not load here .* must stay external/)
    }
  )

  t.test(
    `a bundle (${format}) that leaves out what must stay external runs tasks from memory and a directory, and enqueues in an emulator`,
    async t => {
      const file = await bundle(format, ['@google-cloud/tasks', 'lmdb'])
      const server = await startRecordingServer()
      t.teardown(() => server.close())
      const [page, ...answers] = await runBundle(file, [
        { CONSOLE: '1' },
        {},
        { CLOUD_TASKS_DIRECTORY: join(t.testdir({}), 'queue') },
        { ...CLOUD, CLOUD_TASKS_EMULATOR_HOST: server.host }
      ])
      t.match(
        page,
        /^FST_TASKS_PAGE_MISSING: .*'fastify-cloud-tasks' must be external .*docs\/bundlers\.md$/,
        'a console in it does not start'
      )
      t.strictSame(answers, ['hello Ada', 'hello Ada', { duplicate: false }])
      t.equal(server.calls[0]?.request.task.httpRequest.url, 'https://worker.example/tasks/greet')
    }
  )
}
