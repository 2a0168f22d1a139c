/** Compiles what the tests load, in one process: each of theirs would start a compiler. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { compile } from './hooks.js'

const root = join(import.meta.dirname, '../..')
for (const folder of ['lib', 'test', 'example']) {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => /(?<!\.d)\.ts$/.test(file) && !file.includes('node_modules'))
  await Promise.all(files.map(file => compile(join(root, folder, file))))
}
