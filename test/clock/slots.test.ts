import fc from 'fast-check'
import t from 'tap'
import { Slots } from '../../lib/clock/slots.js'
import { OneTimeSecrets } from '../../lib/delivery/one-time-secrets.js'

t.test('slots hold what a set would, whatever comes and goes', async t => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(9))), steps => {
    const items = Array.from({ length: 10 }, () => ({ slot: -1 }))
    const [slots, set] = [new Slots<{ slot: number }>(), new Set<object>()]
    for (const [isAdded, index] of steps) {
      const item = items[index]!
      if (!isAdded && slots.delete(item) !== set.delete(item)) return false
      if (!isAdded || set.has(item)) continue
      slots.add(item)
      set.add(item)
    }
    const values = slots.values()
    return slots.size === set.size && values.length === set.size && values.every(item => set.has(item))
  }))
  t.pass()
})

t.test('a secret is valid once, beside any others, and nothing else is', async t => {
  const secrets = new OneTimeSecrets()
  const issued = Array.from({ length: 600 }, () => secrets.issue())
  t.equal(new Set(issued.map(secret => secret.replace(/^\d+/, ''))).size, 600, 'random parts never repeat')
  for (const wrong of ['', '0', '0-', 'x', '-1', '1e3', `${issued[0]!}0`, issued[0]!.slice(0, -1), issued[1]!.replace(/^1/, '0')]) {
    t.equal(secrets.take(wrong), false)
  }
  t.ok(issued.every(secret => secrets.take(secret)))
  t.notOk(issued.some(secret => secrets.take(secret)))
  const next = secrets.issue()
  t.notOk(issued.includes(next))
  t.ok(secrets.take(next))
})
