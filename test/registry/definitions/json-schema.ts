import { defineTasks } from '../../../lib/index.js'

export const tasks = defineTasks({
  'send-receipt': {
    payload: {
      type: 'object',
      properties: { order: { type: 'string' }, email: { type: 'string', format: 'email' } },
      required: ['order', 'email'],
      additionalProperties: false
    },
    queue: 'mail'
  },
  'ship-order': {
    payload: {
      type: 'object',
      properties: {
        items: {
          type: 'array',
          items: {
            type: 'object',
            properties: { sku: { type: 'string' }, email: { type: 'string', format: 'email' } },
            required: ['sku', 'email'],
            additionalProperties: false
          }
        },
        speed: { enum: ['slow', 'fast'] },
        note: { type: 'string' }
      },
      required: ['items', 'speed'],
      additionalProperties: false
    }
  },
  nightly: { payload: { type: 'null' } }
})
