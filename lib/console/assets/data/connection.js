import { Observable } from './observable.js'

/** `{ state: 'connecting' | 'live' | 'lost', since }`; `since` is in this machine's time. */
export const connection = new Observable({ state: 'connecting', since: Date.now() })

let source
let timer
let wait = 1000

/**
 * Subscribes to the server's events while the page is open. The browser reconnects after most errors, but not after a response that is
 * not an event stream; then this function does, with exponential backoff.
 *
 * @param {{ onLive: (message: object) => void, onReturn: () => void }} handlers `onReturn`: messages may have been missed
 * @returns when the connection is established, or has failed for now
 */
export async function connect (handlers) {
  listen(handlers)
  await new Promise(resolve => {
    const timer = setTimeout(() => { set('lost') }, CONNECT_TIMEOUT_MS)
    const stop = connection.subscribe(() => {
      clearTimeout(timer)
      stop()
      resolve()
    })
  })
}

function listen (handlers) {
  clearTimeout(timer)
  source?.close()
  source = new EventSource('api/events')
  source.addEventListener('open', () => {
    wait = 1000
    const returned = connection.value.state === 'lost'
    set('live')
    if (returned) handlers.onReturn()
  })
  source.addEventListener('live', ({ data }) => { handlers.onLive(JSON.parse(data)) })
  source.addEventListener('reload', () => { handlers.onReturn() })
  source.addEventListener('error', () => {
    set('lost')
    if (source.readyState !== EventSource.CLOSED) return
    clearTimeout(timer)
    timer = setTimeout(() => { listen(handlers) }, wait)
    wait = Math.min(wait * 2, 30_000)
  })
}

function set (state) {
  if (connection.value.state !== state) connection.set({ state, since: Date.now() })
}

/** So that a buffering proxy does not block rendering the page. */
const CONNECT_TIMEOUT_MS = 3000
