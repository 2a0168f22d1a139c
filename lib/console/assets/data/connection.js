import { Store } from './store.js'

/** `{ state: 'connecting' | 'live' | 'lost', since }`; `since` is by the clock of this machine. */
export const connection = new Store({ state: 'connecting', since: Date.now() })

let source
let timer
let wait = 1000

/**
 * Listens to the server's events for as long as the page is open. The browser itself connects again after most losses; after
 * an answer that was no stream it does not, so that is done here, less and less often.
 *
 * @param {{ onLive: (message: object) => void, onReturn: () => void }} handlers `onReturn`: messages may have been missed
 * @returns once messages are heard, or will not be for a while
 */
export async function connect (handlers) {
  listen(handlers)
  await new Promise(resolve => {
    const timer = setTimeout(() => { set('lost') }, PATIENCE_MS)
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

/** A proxy that holds back what it should pass on must not keep the page from being drawn. */
const PATIENCE_MS = 3000
