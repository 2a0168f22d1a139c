import t from 'tap'
import { damage } from './damage.js'

/** What one commit of the store that is damaged holds. */
const COMMIT = 50

t.test('a damaged store is rejected, or nothing acknowledged is missing but what the documentation names', async t => {
  const seed = 77
  const { refused, unnoticed, raw, crashed } = await damage(40, seed)
  t.comment({ unnoticed })
  t.strictSame(crashed, [], 'no process dies of it')
  t.strictSame(raw, [], 'every error is the store\'s own')
  t.ok(Object.keys(refused).length > 3)
  for (const [what, { lost, changed }] of Object.entries(unnoticed)) {
    // An older copy of a journal may lack whatever was stored last.
    if (what.startsWith('older')) continue
    t.ok(lost <= (what.endsWith('.journal') ? COMMIT : 0), `${what}: ${lost} are missing`)
    t.equal(changed, 0, `${what}: ${changed} have another payload`)
  }
})
