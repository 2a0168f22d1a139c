import * as v from 'valibot'
import { defineTasks } from '../../../lib/index.js'

export const tasks = defineTasks({
  'send-receipt': { payload: v.strictObject({ order: v.string(), email: v.pipe(v.string(), v.email()) }), queue: 'mail' },
  'ship-order': {
    payload: v.object({
      items: v.array(v.object({ sku: v.string(), email: v.pipe(v.string(), v.email()) })),
      speed: v.picklist(['slow', 'fast']),
      note: v.optional(v.string())
    })
  },
  nightly: { payload: v.null() },
  'count-down': { payload: v.object({ from: v.pipe(v.string(), v.transform(Number)), step: v.optional(v.number(), 1) }) }
})
