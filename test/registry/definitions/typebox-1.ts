import Type from 'typebox'
import { defineTasks } from '../../../lib/index.js'

export const tasks = defineTasks({
  'send-receipt': {
    payload: Type.Object({ order: Type.String(), email: Type.String({ format: 'email' }) }, { additionalProperties: false }),
    queue: 'mail'
  },
  'ship-order': {
    payload: Type.Object({
      items: Type.Array(Type.Object({ sku: Type.String(), email: Type.String({ format: 'email' }) })),
      speed: Type.Union([Type.Literal('slow'), Type.Literal('fast')]),
      note: Type.Optional(Type.String())
    })
  },
  nightly: { payload: Type.Null() }
})
