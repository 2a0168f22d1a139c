import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import emulator from '../../lib/cli/commands/emulator.js'

const root = join(import.meta.dirname, '../..')

t.test('docs/django.md shows the very files of the project that is checked', async t => {
  const page = readFileSync(join(root, 'docs/django.md'), 'utf8')
  const project = join(root, 'test/clients/django/shop')
  for (const file of readdirSync(project)) t.ok(page.includes(`\`\`\`python\n${readFileSync(join(project, file), 'utf8')}\`\`\``), file)
})

t.test('docs/emulator.md and the help describe every flag', async t => {
  const page = readFileSync(join(root, 'docs/emulator.md'), 'utf8')
  const flags = Object.keys(emulator.options)
  t.ok(flags.length > 10)
  for (const flag of flags) {
    t.ok(page.includes(`| \`--${flag}`), flag)
    t.match(emulator.help, `  --${flag} `, flag)
    t.match(emulator.usage, `--${flag}`, flag)
  }
})
