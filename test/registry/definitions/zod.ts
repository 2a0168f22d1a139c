import * as z from 'zod'
import { defineTasks } from '../../../lib/index.js'

export const tasks = defineTasks({
  'send-receipt': { payload: z.strictObject({ order: z.string(), email: z.email() }), queue: 'mail' },
  'ship-order': {
    payload: z.object({
      items: z.array(z.object({ sku: z.string(), email: z.email() })),
      speed: z.enum(['slow', 'fast']),
      note: z.string().optional()
    })
  },
  nightly: { payload: z.null() },
  'count-down': { payload: z.object({ from: z.string().transform(Number), step: z.number().default(1) }) }
})
