/** A field that Fastify keeps under a symbol of its own, found along the chain of encapsulated instances. */
export function fieldOf (app: object, description: string): unknown {
  for (const instance of chainOf(app)) {
    const symbol = Object.getOwnPropertySymbols(instance).find(one => one.description === description)
    if (symbol !== undefined) return (instance as Record<symbol, unknown>)[symbol]
  }
  return undefined
}

/** An instance and those above it, from the inside to the root: each inherits from the next. */
export function * chainOf (app: object): Generator<object, void> {
  for (let instance: object | null = app; instance !== null && instance !== Object.prototype; instance = Object.getPrototypeOf(instance)) yield instance
}
