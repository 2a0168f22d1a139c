import { html, useEffect } from '../htm-preact.js'
import { Icon } from './icon.js'
import { Observable, useObservable } from '../data/observable.js'

const notices = new Observable([])
let last = 0

/** Shows a success notice, which disappears after a while. */
export function notify (text, link) {
  add({ tone: 'good', text, link })
}

/** Shows an error notice, which stays until it is closed. */
export function notifyError (error) {
  add({ tone: 'bad', text: error.message })
}

/** Runs an action, and shows an error notice if it fails. */
export async function withErrorNotice (action) {
  try {
    return await action()
  } catch (error) {
    notifyError(error)
    return undefined
  }
}

export function Notices () {
  // Live regions must exist before their content for screen readers.
  const all = useObservable(notices)
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
      <button class="icon-button" aria-label="Close this notice" onClick=${close}><${Icon} name="close" /></button>
    </div>`
}

function add (notice) {
  last++
  notices.set([...notices.value.slice(-3), { ...notice, key: last }])
}

const SHOWN_MS = 8000
