import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import t, { type Test } from 'tap'
import * as v from 'valibot'
import * as z from 'zod'
import { defineTasks } from '../../lib/index.js'
import { root } from '../support/compiler.js'
import { start } from '../support/app.js'

const page = readFileSync(join(root, 'docs/schemas.md'), 'utf8')

/** What the handler gets for `payload`. */
async function received (test: Test, payload: object, value: unknown): Promise<unknown> {
  const { app } = await start(test, {
    tasks: defineTasks({ task: { payload: payload as { type: 'object' } } }),
    handlers: { task: (payload: unknown) => payload }
  })
  return await app.tasks.run('task', value)
}

t.test('the table of coercions in docs/schemas.md is true', async t => {
  const rows = [...page.matchAll(/^\| `(Type\..*)` \| `(.*)` \| `(.*?)`.* \|$/gm)]
  t.ok(rows.length >= 7)
  for (const [, schema, payload, result] of rows) {
    const evaluate = (text: string): unknown => new Function('Type', `return (${text})`)(Type) // eslint-disable-line no-new-func
    t.strictSame(await received(t, evaluate(schema!) as object, evaluate(payload!)), evaluate(result!), `${schema} ${payload}`)
  }
})

t.test('what docs/schemas.md says of dates is true', async t => {
  const [text, date] = ['2030-01-01T00:00:00.000Z', new Date('2030-01-01')]
  for (const schema of [z.date(), v.date()]) await t.rejects(received(t, schema, date), { code: 'FST_TASKS_INVALID_PAYLOAD' })
  for (const schema of [z.coerce.date(), v.pipe(v.string(), v.isoTimestamp(), v.toDate()), type('string.date.parse')]) {
    t.strictSame(await received(t, schema, date), date)
  }
  t.equal(await received(t, Type.String({ format: 'date-time' }), date), text)
})

t.test('what docs/schemas.md says of unknown fields is true', async t => {
  const payload = { a: 'x', b: 1 }
  t.strictSame(await received(t, z.object({ a: z.string() }), payload), { a: 'x' })
  t.strictSame(await received(t, v.object({ a: v.string() }), payload), { a: 'x' })
  t.same(await received(t, type({ a: 'string' }), payload), payload)
  for (const schema of [z.strictObject({ a: z.string() }), v.strictObject({ a: v.string() }), type({ '+': 'reject', a: 'string' })]) {
    await t.rejects(received(t, schema, payload), { code: 'FST_TASKS_INVALID_PAYLOAD' })
  }
})
