/**
 * Set on a server that a command has loaded. `look`: for its registry and its handlers only, so the plugin opens no queue; nothing
 * is dispatched, no directory is taken from the process that has it, and no credentials are needed. `send`: to enqueue; the
 * embedded queue stores and does not dispatch.
 */
export const inspected: unique symbol = Symbol('fastify-cloud-tasks.inspected')

export type Inspection = 'look' | 'send'

/** Undefined for a server that serves. */
export function inspectionOf (app: object): Inspection | undefined {
  return (app as { readonly [inspected]?: Inspection })[inspected]
}
