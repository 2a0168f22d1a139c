import { z } from 'zod/v3'
import { defineTasks } from '../../../lib/index.js'

export const tasks = defineTasks({
  'send-receipt': { payload: z.object({ order: z.string(), email: z.string().email() }).strict(), queue: 'mail' },
  'ship-order': {
    payload: z.object({
      items: z.array(z.object({ sku: z.string(), email: z.string().email() })),
      speed: z.enum(['slow', 'fast']),
      note: z.string().optional()
    })
  },
  nightly: { payload: z.null() },
  'count-down': { payload: z.object({ from: z.string().transform(Number), step: z.number().default(1) }) }
})
