import { useLayoutEffect, useReducer } from '../htm-preact.js'

/** An observable value. */
export class Observable {
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

  /** @returns {() => void} unsubscribes */
  subscribe (listener) {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }
}

/** The value of an observable; the component re-renders when it changes. */
export function useObservable (observable) {
  const [, redraw] = useReducer(count => count + 1, 0)
  useLayoutEffect(() => observable.subscribe(redraw), [observable])
  return observable.value
}
