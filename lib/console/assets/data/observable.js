import { useLayoutEffect, useReducer } from '../htm-preact.js'

/** A value that can be watched. */
export class Store {
  #value
  #listeners = new Set()

  constructor (value) {
    this.#value = value
  }

  get value () {
    return this.#value
  }

  set (value) {
    if (Object.is(value, this.#value)) return
    this.#value = value
    for (const listener of [...this.#listeners]) listener()
  }

  /** @returns {() => void} ends it */
  subscribe (listener) {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }
}

/** The value of a store; the component is drawn again when it changes. */
export function useStore (store) {
  const [, redraw] = useReducer(count => count + 1, 0)
  useLayoutEffect(() => store.subscribe(redraw), [store])
  return store.value
}
