import { type } from 'arktype'
import { defineTasks } from '../../../lib/index.js'

export const tasks = defineTasks({
  'send-receipt': { payload: type({ '+': 'reject', order: 'string', email: 'string.email' }), queue: 'mail' },
  'ship-order': {
    payload: type({
      items: type({ sku: 'string', email: 'string.email' }).array(),
      speed: "'slow' | 'fast'",
      'note?': 'string'
    })
  },
  nightly: { payload: type('null') },
  'count-down': { payload: type({ from: type('string').pipe(Number), step: 'number = 1' }) }
})
