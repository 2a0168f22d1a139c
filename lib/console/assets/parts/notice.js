import { html, useEffect } from '../htm-preact.js'
import { Icon } from './icon.js'
import { Store, useStore } from '../data/store.js'

const notices = new Store([])
let last = 0

/** Tells what was done. It goes by itself. */
export function tell (text, link) {
  add({ tone: 'good', text, link })
}

/** Tells what went wrong. It stays until it is closed. */
export function complain (error) {
  add({ tone: 'bad', text: error.message })
}

/** Does something, and tells if it went wrong. Undefined then. */
export async function attempt (action) {
  try {
    return await action()
  } catch (error) {
    complain(error)
    return undefined
  }
}

export function Notices () {
  // The regions are there before anything is told, or a screen reader would not notice.
  const all = useStore(notices)
  const of = tone => all.filter(one => one.tone === tone).map(notice => html`<${Notice} key=${notice.key} notice=${notice} />`)
  return html`
    <div class="notices">
      <div role="status">${of('good')}</div>
      <div role="alert">${of('bad')}</div>
    </div>`
}

function Notice ({ notice }) {
  const { tone, text, link, key } = notice
  const close = () => { notices.set(notices.value.filter(one => one.key !== key)) }
  useEffect(() => {
    if (tone === 'bad') return
    const timer = setTimeout(close, SHOWN_MS)
    return () => { clearTimeout(timer) }
  }, [])
  return html`
    <div class="notice ${tone}">
      <span><bdi>${text}</bdi>${link === undefined ? null : html` <a href=${link.href}>${link.text}</a>`}</span>
      <button class="icon-button" aria-label="Close this message" onClick=${close}><${Icon} name="close" /></button>
    </div>`
}

function add (notice) {
  last++
  notices.set([...notices.value.slice(-3), { ...notice, key: last }])
}

const SHOWN_MS = 8000
