import { useEffect, useState } from '../htm-preact.js'

let offset = 0
let timer
const listeners = new Set()

/** The server's time: that of this machine may differ. */
export function now () {
  return Date.now() + offset
}

export function setClock (serverNow) {
  offset = serverNow - Date.now()
}

/** What `read` makes of the time, drawn again in the second in which it changes. */
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
