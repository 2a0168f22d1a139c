import { execFile } from 'node:child_process'
import { cpSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from '../support/compiler.js'
import { transpile } from '../support/transpile.js'

const recipes = join(import.meta.dirname, 'recipes')

t.test('the recipes in the documentation are those that are run', t => {
  const docs = readFileSync(join(root, 'docs/testing.md'), 'utf8')
  for (const file of readdirSync(recipes)) t.ok(docs.includes(readFileSync(join(recipes, file), 'utf8')), file)
  const main = readFileSync(join(import.meta.dirname, 'main.ts'), 'utf8')
  const [, config] = /JEST_TRANSFORMED = `([^`]+)`/.exec(main)!
  t.ok(docs.includes(config!.replaceAll('\\\\', '\\')), 'the configuration of jest')
  t.end()
})

t.test('the recipes for node:test and tap succeed; npm run runners runs those for vitest and jest', async t => {
  const checkout = t.testdir()
  await transpile(checkout)
  cpSync(recipes, join(checkout, 'recipes'), { recursive: true })
  for (const file of ['node-test.test.js', 'tap.test.js']) {
    // It rejects where one fails.
    const args = ['-u', 'NODE_OPTIONS', '-u', 'NODE_TEST_CONTEXT', process.execPath, join('recipes', file)]
    const { stdout } = await promisify(execFile)('env', args, { cwd: checkout })
    t.match(stdout, 'an order sends its receipt', file)
  }
})
