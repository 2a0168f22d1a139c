/** `npm run bench -- NAME [args]` runs the benchmark of that name; without one it lists them. */
import { readdir } from 'node:fs/promises'

const names = (await readdir(import.meta.dirname))
  .filter(file => file.endsWith('.ts') && file !== 'main.ts' && file !== 'measure.ts')
  .map(file => file.slice(0, -3))
const name = process.argv[2]
if (name === undefined || !names.includes(name)) {
  console.log(`npm run bench -- NAME, where NAME is one of: ${names.join(', ')}`)
  process.exitCode = name === undefined ? 0 : 1
} else {
  await import(`./${name}.ts`)
}
