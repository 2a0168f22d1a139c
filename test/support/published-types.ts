import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './compiler.js'

/** Which of the two TypeBox packages an app has installed. */
export const TYPEBOXES = ['none', '@sinclair/typebox', 'typebox', 'both'] as const

/** How a program resolves modules, and which system `app.ts` belongs to. */
export interface Cell {
  readonly resolution: 'node16' | 'nodenext' | 'bundler'
  readonly type: 'module' | 'commonjs'
  readonly typebox: (typeof TYPEBOXES)[number]
  readonly exactOptionalPropertyTypes: boolean
  /** @default true */
  readonly importsEsm?: boolean
  /** Checks no declarations. Those of typebox 1.x take three times as long as all the rest. @default false */
  readonly skipLibCheck?: boolean
}

/**
 * Writes an app of `cell` beside its `node_modules`, in which the package is unpacked: it imports every entry, enqueues, handles, and
 * expects an error wherever a guarantee is broken. All declarations are checked, those of the package among them.
 * @param entries the keys of the package's `exports`
 * @param others texts of other modules of the program, by file name
 */
export function writeProgram (app: string, cell: Cell, entries: readonly string[], others: Readonly<Record<string, string>> = {}): void {
  const { resolution, type, typebox, exactOptionalPropertyTypes, skipLibCheck = false } = cell
  for (const name of packagesOf(typebox)) link(app, name)
  const module = resolution === 'bundler' ? { module: 'esnext', moduleResolution: 'bundler' } : { module: resolution }
  const compilerOptions = {
    ...module,
    exactOptionalPropertyTypes,
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    skipLibCheck,
    esModuleInterop: true,
    noEmit: true
  }
  write(app, 'package.json', { type })
  write(app, 'tsconfig.json', { compilerOptions, files: ['app.ts', ...Object.keys(others)] })
  for (const [file, text] of Object.entries({ ...others, 'app.ts': source(cell, entries) })) writeFileSync(join(app, file), text)
}

/** Beside what every app has. */
function packagesOf (typebox: Cell['typebox']): string[] {
  const sinclair = ['@sinclair/typebox']
  const one = ['typebox', 'type-provider-typebox-6']
  return ['zod', ...(typebox === 'none' ? [] : typebox === 'both' ? [...sinclair, ...one] : typebox === 'typebox' ? one : sinclair)]
}

function source ({ typebox, importsEsm = true }: Cell, entries: readonly string[]): string {
  const usesSinclair = typebox === '@sinclair/typebox' || typebox === 'both'
  // A CommonJS module may import the types of an ES module only where Node can require it.
  const usesOne = importsEsm && (typebox === 'typebox' || typebox === 'both')
  const others = entries.filter(entry => entry !== '.' && entry !== './package.json')
  return `
import Fastify, { type FastifyInstance } from 'fastify'
import { z } from 'zod'
import cloudTasks, { defineTasks, errors, tasksOf, type TaskHandler, type TaskHandlers, type TaskPayload } from 'fastify-cloud-tasks'
${others.map((entry, index) => `import * as entry${index} from 'fastify-cloud-tasks${entry.slice(1)}'`).join('\n')}
${usesSinclair ? "import { Type } from '@sinclair/typebox'" : ''}
${usesOne ? "import One from 'typebox'\nimport type { TypeBoxTypeProvider } from 'type-provider-typebox-6'" : ''}

export const tasks = defineTasks({
  zod: { payload: z.object({ name: z.string(), at: z.iso.date().transform(text => new Date(text)) }) },
  ${usesSinclair ? "typebox: { payload: Type.Object({ name: Type.String() }), queue: 'mail' }," : ''}
  loose: { payload: { type: 'object' } }
})

declare module 'fastify-cloud-tasks' {
  interface Register { tasks: typeof tasks }
}

export const zod: TaskHandler<typeof tasks, 'zod'> = async ({ name, at }, task) => [name.trim(), at.getTime(), task.attempt]
export const handlers: TaskHandlers<typeof tasks> = {
  zod,
  ${usesSinclair ? "async typebox ({ name }) { return await this.enqueue('zod', { name, at: '2030-01-01' }) }," : ''}
  loose () {}
}
export const payload: TaskPayload<typeof tasks, 'zod'> = { name: 'Ada', at: '2030-01-01' }
new errors.FST_TASKS_CLOSING().code satisfies 'FST_TASKS_CLOSING'

export async function main (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(cloudTasks, { tasks, handlers, transport: 'local', local: { directory: '.tasks' } })
  await app.enqueue('zod', { name: 'Ada', at: '2030-01-01' }, { id: '1' })
  await app.enqueue('loose', { any: 'thing' })
  // @ts-expect-error unknown name
  await app.enqueue('zodd', { name: 'Ada', at: '2030-01-01' })
  // @ts-expect-error missing field
  await app.enqueue('zod', { name: 'Ada' })
  // @ts-expect-error the input, not the output
  await app.enqueue('zod', { name: 'Ada', at: new Date() })
  // @ts-expect-error unknown option
  await app.enqueue('loose', {}, { queu: 'mail' })
  // @ts-expect-error misspelt key
  defineTasks({ one: { payload: z.string(), queu: 'mail' } })
  // @ts-expect-error unknown option of the plugin
  await app.register(cloudTasks, { tasks, trnasport: 'local' })
  ${usesSinclair ? "await app.enqueue('typebox', { name: 'Ada' })\n  // @ts-expect-error wrong type\n  await app.enqueue('typebox', { name: 1 })" : ''}
  ${usesOne ? ONE : ''}
  console.log([${others.map((_, index) => `entry${index}`).join(', ')}])
  return app
}
`
}

const ONE = `
  const ones = defineTasks({ one: { payload: One.Object({ name: One.String() }) } })
  const client = tasksOf<typeof ones, TypeBoxTypeProvider>(app, ones)
  await client.enqueue('one', { name: 'Ada' })
  // @ts-expect-error wrong type
  await client.enqueue('one', { name: 1 })`

function write (app: string, file: string, content: object): void {
  writeFileSync(join(app, file), JSON.stringify(content))
}

function link (app: string, name: string): void {
  const path = join(app, 'node_modules', name)
  mkdirSync(dirname(path), { recursive: true })
  if (!existsSync(path)) symlinkSync(join(root, 'node_modules', name), path)
}
