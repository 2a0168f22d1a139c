import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { compile, root, type Complaint } from './support/compiler.js'

interface Block {
  /** Of a file in a program, by page and line. */
  readonly name: string
  readonly code: string
}

const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const pages = ['README.md', ...readdirSync(join(root, 'docs')).filter(file => file.endsWith('.md')).map(file => `docs/${file}`)]

/** Those that test/runners/ runs. */
const recipes = new Set(readdirSync(join(root, 'test/runners/recipes')).map(file => read(`test/runners/recipes/${file}`)))

/** What the blocks of all pages take for granted, and packages that only apps install. */
const ASSUMED = `
import type { onRequestHookHandler, FastifyInstance, FastifyPluginAsync } from 'fastify'
import type * as plugin from 'fastify-cloud-tasks'

declare global {
  const app: FastifyInstance
  const cloudTasks: typeof plugin.default
  const tasks: plugin.TaskDefinitions
  const handlers: plugin.TaskHandlers<plugin.TaskDefinitions>
  const build: () => Promise<FastifyInstance>
  const buildApp: typeof build
  const requireSession: onRequestHookHandler
  const underPressure: FastifyPluginAsync<import('@fastify/under-pressure').FastifyUnderPressureOptions>
  const id: string
  const order: string
  const sendReceipt: (order: string) => Promise<void>
  const verifyGoogleToken: import('fastify').preHandlerHookHandler
  const client: import('@google-cloud/tasks').CloudTasksClient
  const connection: { host: string }
  const Queue: new (name: string, options: { connection: object }) => { add (name: string, data: object, options: object): Promise<unknown> }
  const Worker: new (name: string, process: (job: { data: any }) => Promise<unknown>, options: object) => object
}
`
const PACKAGES = `
declare module '@opentelemetry/sdk-node' {
  export class NodeSDK {
    constructor (options: { instrumentations?: import('@opentelemetry/instrumentation').Instrumentation[], metricReaders?: object[] })
    start (): void
  }
}
declare module '@opentelemetry/exporter-prometheus' {
  export class PrometheusExporter {
    constructor (options: { port: number })
  }
}
`

t.test('every block of TypeScript and JavaScript in the documentation compiles, or is a recipe that is run', async t => {
  const blocks = pages.flatMap(blocksOf)
  const checked = blocks.filter(({ code }) => !recipes.has(code))
  t.equal(blocks.length - checked.length, recipes.size)
  t.ok(checked.length > 20)
  const files = Object.fromEntries(checked.map(({ name, code }) => [name, withoutRegister(code)]))
  t.strictSame(await complaints({ ...files, 'assumed.d.ts': ASSUMED, 'packages.d.ts': PACKAGES }), [])
})

t.test('the quick start compiles as it stands', async t => {
  const [{ code: source } = { code: '' }] = blocksOf('README.md')
  t.ok(source.trim().split('\n').filter(line => line !== '').length <= 20, 'in 20 lines')
  const misspelt = source.replace("order: '42'", "oder: '42'")
  t.not(misspelt, source)
  t.match(
    await complaints({ 'right.ts': source, 'misspelt.ts': misspelt }),
    [{ file: 'misspelt.ts', message: /'oder' does not exist/ }],
    'and a misspelt field does not'
  )
})

function blocksOf (page: string): Block[] {
  const text = read(page)
  return [...text.matchAll(/^```(ts|js)\n([\s\S]*?)^```$/gm)].map(({ index, 1: language, 2: code }) => {
    return { name: `${page.replaceAll('/', '-')}-line-${text.slice(0, index).split('\n').length + 1}.${language}`, code: code! }
  })
}

/** One program has one registry, and the pages have many. */
function withoutRegister (code: string): string {
  return code.replace(/^declare module 'fastify-cloud-tasks' .*$/m, '')
}

/** What the compiler has against texts that each stand in a file of their own in an app. */
async function complaints (texts: Readonly<Record<string, string>>): Promise<Complaint[]> {
  const app = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-docs-')))
  try {
    symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
    writeFileSync(join(app, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        rootDir: '/',
        allowJs: true,
        checkJs: true,
        noImplicitAny: false,
        noUncheckedIndexedAccess: false,
        declaration: false,
        paths: {
          'fastify-cloud-tasks': [join(root, 'lib/index.ts')],
          'fastify-cloud-tasks/console': [join(root, 'lib/console/plugin.ts')],
          'fastify-cloud-tasks/*': [join(root, 'lib/*/index.ts')],
          '@fastify/type-provider-typebox': [join(root, 'node_modules/type-provider-typebox-6')]
        }
      },
      include: ['.'],
      exclude: ['node_modules']
    }))
    for (const [file, text] of Object.entries(texts)) writeFileSync(join(app, file), text)
    return await compile(app)
  } finally {
    rmSync(app, { recursive: true })
  }
}
