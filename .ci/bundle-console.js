// Bundles the console's page into dist/: one script and no package to install. `npm run build` runs it.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

const from = 'lib/console/assets'
const to = 'dist/console/assets'
const bundle = { bundle: true, format: 'esm', target: 'es2023', minify: true, charset: 'utf8', logLevel: 'warning' }

await build({ ...bundle, entryPoints: ['main.js', 'console.css', 'colours.css'].map(file => join(from, file)), outdir: to })
// The command line makes example payloads with it.
await build({ ...bundle, entryPoints: [join(from, 'form/schema-value.js')], outfile: join(to, 'form/schema-value.js') })
for (const file of ['index.html', 'first-paint.js', 'icon.svg']) copyFileSync(join(from, file), join(to, file))
writeFileSync(join(to, 'LICENSES.txt'), ['preact', 'htm'].map(name => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8')}`).join('\n\n'))
