import { Type } from '@sinclair/typebox'
import { defineTasks } from 'fastify-cloud-tasks'

/** The registry of this program. Every file here sees it through `Register`. */
export const tasks = defineTasks({
  'send-receipt': {
    payload: Type.Object({ order: Type.String(), email: Type.String({ format: 'email' }) }),
    queue: 'mail',
    dispatchDeadlineSeconds: 60
  },
  'resize-photo': {
    path: '/photos/resize',
    method: 'PUT',
    payload: Type.Object({
      photo: Type.String(),
      width: Type.Optional(Type.Integer()),
      crop: Type.Object({ x: Type.Integer(), y: Type.Integer(), shape: Type.Optional(Type.Union([Type.Literal('round'), Type.Literal('square')])) })
    })
  },
  countdown: { payload: Type.Object({ from: Type.Integer() }) },
  nightly: { payload: Type.Null() }
})

export interface Photo {
  photo: string
  width?: number
  crop: { x: number, y: number, shape?: 'round' | 'square' }
}

declare module 'fastify-cloud-tasks' {
  interface Register { tasks: typeof tasks }
}
