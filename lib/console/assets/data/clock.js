import { useEffect, useState } from '../htm-preact.js'

let offset = 0
let timer
const listeners = new Set()

/** The server's time, which can differ from this machine's. */
export function now () {
  return Date.now() + offset
}

export function setClock (serverNow) {
  offset = serverNow - Date.now()
}

/** The result of `read` for the current time, updated every second. */
export function useClock (read) {
  const [value, set] = useState(undefined)
  useEffect(() => {
    const tick = () => { set(read(now())) }
    listeners.add(tick)
    timer ??= setInterval(() => { for (const listener of [...listeners]) listener() }, 1000)
    tick()
    return () => {
      listeners.delete(tick)
      if (listeners.size > 0) return
      clearInterval(timer)
      timer = undefined
    }
  }, [read])
  return value ?? read(now())
}
