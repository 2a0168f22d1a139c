/**
 * An app with the packed package for each schema library, as ES modules, as CommonJS and bundled: compiles it, runs it, and prints a line
 * for each. Installs Zod 3.24 from the npm registry. Exits with 1 when a cell fails. `npm run bench -- schema-projects [library]`.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { compile, root } from '../support/compiler.js'
import { alone, install, pack } from '../support/package.js'

interface Library {
  readonly imports: string
  readonly schema: string
  /** Import of a type provider, as `Provider`, for schemas that do not carry their type. */
  readonly provider?: string
  /** Where the checkout has the packages that the app imports, by their names. */
  readonly packages: Readonly<Record<string, string>>
  /** A package that this checkout does not have. */
  readonly installed?: string
}

const TYPEBOX = 'Type.Object({ name: Type.String({ minLength: 1 }) })'
const ZOD = 'z.object({ name: z.string().min(1) })'

const LIBRARIES: Readonly<Record<string, Library>> = {
  'TypeBox 0.34': { imports: "import { Type } from '@sinclair/typebox'", schema: TYPEBOX, packages: { '@sinclair/typebox': '@sinclair/typebox' } },
  'TypeBox 1.x': {
    imports: "import Type from 'typebox'",
    schema: TYPEBOX,
    provider: "import type { TypeBoxTypeProvider as Provider } from '@fastify/type-provider-typebox'",
    packages: { typebox: 'typebox', '@fastify/type-provider-typebox': 'type-provider-typebox-6' }
  },
  'JSON Schema': {
    imports: '',
    schema: "{ type: 'object', properties: { name: { type: 'string', minLength: 1 } }, required: ['name'], additionalProperties: false }",
    provider: "import type { JsonSchemaToTsProvider as Provider } from '@fastify/type-provider-json-schema-to-ts'",
    packages: { '@fastify/type-provider-json-schema-to-ts': '@fastify/type-provider-json-schema-to-ts' }
  },
  'Zod 4': { imports: "import * as z from 'zod'", schema: ZOD, packages: { zod: 'zod' } },
  'Zod 3.24': { imports: "import { z } from 'zod'", schema: ZOD, packages: {}, installed: 'zod@~3.24.0' },
  Valibot: {
    imports: "import * as v from 'valibot'", schema: 'v.object({ name: v.pipe(v.string(), v.minLength(1)) })', packages: { valibot: 'valibot' }
  },
  ArkType: { imports: "import { type } from 'arktype'", schema: "type({ name: 'string > 0' })", packages: { arktype: 'arktype' } }
}

const EXPECTED = 'hello Ada, FST_TASKS_INVALID_PAYLOAD\n'

/** How a project is compiled, and what is then run. */
const projects: Readonly<Record<string, (app: string) => Promise<string>>> = {
  ESM: async app => {
    await compiled(app, 'module', { module: 'nodenext', outDir: 'esm' })
    return 'esm/app.js'
  },
  CommonJS: async app => {
    await compiled(app, 'commonjs', { module: 'nodenext', outDir: 'cjs' })
    return 'cjs/app.js'
  },
  bundled: async app => {
    await compiled(app, 'module', { module: 'esnext', moduleResolution: 'bundler', noEmit: true })
    const external = ['@google-cloud/tasks', 'lmdb']
    const [from, to] = ['app.ts', 'bundle/app.cjs'].map(file => join(app, file)) as [string, string]
    await build({ entryPoints: [from], outfile: to, bundle: true, platform: 'node', format: 'cjs', external, logLevel: 'error' })
    return to
  }
}

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-schema-projects-')))
try {
  await main()
} finally {
  rmSync(folder, { recursive: true })
}

async function main (): Promise<void> {
  const tarball = await pack(folder)
  const chosen = process.argv[3] === undefined ? Object.keys(LIBRARIES) : [process.argv[3]]
  for (const name of chosen) {
    const app = writeApp(name, tarball)
    for (const [kind, prepare] of Object.entries(projects)) {
      try {
        const { stdout } = await alone(process.execPath, [await prepare(app)], app)
        if (stdout !== EXPECTED) throw new Error(`it printed ${stdout}`)
        console.log(`ok ${name}, ${kind}`)
      } catch (error) {
        console.log(`FAILED ${name}, ${kind}: ${(error as Error).message}`)
        process.exitCode = 1
      }
    }
  }
}

function writeApp (name: string, tarball: string): string {
  const library = LIBRARIES[name]
  if (library === undefined) throw new Error(`no library '${name}'; there are ${Object.keys(LIBRARIES).join(', ')}`)
  const app = join(folder, name.replaceAll(/\W/g, '-'))
  const { installed } = library
  mkdirSync(app)
  if (installed !== undefined) {
    writeFileSync(join(app, 'package.json'), '{}')
    execFileSync('npm', ['install', installed, '--no-audit', '--no-fund', '--prefer-offline'], { cwd: app, stdio: 'ignore' })
  }
  install(tarball, app, dependency => !/typebox/.test(dependency))
  for (const [name, source] of Object.entries(library.packages)) {
    const path = join(app, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(join(root, 'node_modules', source), path)
  }
  writeFileSync(join(app, 'app.ts'), source(library))
  return app
}

function source ({ imports, schema, provider = '' }: Library): string {
  return `
import Fastify from 'fastify'
import cloudTasks, { defineTasks, type TaskHandlers } from 'fastify-cloud-tasks'
${imports}
${provider}
const tasks = defineTasks({ greet: { payload: ${schema} } })
declare module 'fastify-cloud-tasks' {
  interface Register { tasks: typeof tasks${provider === '' ? '' : ', typeProvider: Provider'} }
}
async function main (): Promise<void> {
  const app = Fastify()
  let done!: (text: string) => void
  const ran = new Promise<string>(resolve => { done = resolve })
  const handlers: TaskHandlers<typeof tasks> = {
    async greet ({ name }) { done(\`hello \${name satisfies string}\`) },
    // @ts-expect-error no such task
    async great () {}
  }
  await app.register(cloudTasks, { tasks, handlers: { greet: handlers.greet }, transport: 'local' })
  await app.ready()
  await app.enqueue('greet', { name: 'Ada' })
  // @ts-expect-error misspelt field
  const refused = await app.enqueue('greet', { nmae: 'Ada' }).then(() => 'accepted', (error: { code: string }) => error.code)
  console.log(\`\${await ran}, \${refused}\`)
  await app.close()
}
main()
`
}

/** @throws with the first complaint of the compiler */
async function compiled (app: string, type: 'module' | 'commonjs', options: object): Promise<void> {
  const compilerOptions = { target: 'es2022', types: ['node'], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: true, ...options }
  writeFileSync(join(app, 'package.json'), JSON.stringify({ type }))
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }))
  const [complaint] = await compile(app)
  if (complaint !== undefined) throw new Error(`${complaint.file}(${complaint.line}): ${complaint.message}`)
}
