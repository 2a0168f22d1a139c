/** Copies the declarations for CommonJS modules, which the compiler takes as they are, from lib/ to dist/. */
import { copyFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
for (const file of readdirSync(join(root, 'lib'), { recursive: true })) {
  if (file.endsWith('.d.cts')) copyFileSync(join(root, 'lib', file), join(root, 'dist', file))
}
