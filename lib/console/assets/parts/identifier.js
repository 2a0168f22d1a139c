import { html, useEffect, useState } from '../htm-preact.js'
import { Icon } from './icon.js'
import { attempt } from './notice.js'
import { visible } from './visible-text.js'

/** An id, with its middle left out where there is no room, and a link if it leads anywhere. */
export function Identifier ({ text, href }) {
  const shown = visible(text)
  const middle = middleOf(shown)
  // Read out, it is one.
  const parts = html`<span class="id-head" aria-hidden="true">${shown.slice(0, middle)}</span>
    <span class="id-tail" aria-hidden="true">${shown.slice(middle)}</span><span class="unseen">${shown}</span>`
  return href === undefined
    ? html`<bdi class="id" title=${shown}>${parts}</bdi>`
    : html`<a class="id" href=${href} title=${shown}><bdi class="id-parts">${parts}</bdi></a>`
}

export function CopyButton ({ text, what }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => { setCopied(false) }, 2000)
    return () => { clearTimeout(timer) }
  }, [copied])
  const copy = () => attempt(async () => {
    if (navigator.clipboard === undefined) throw new Error('This browser lets a page copy only over HTTPS or from localhost')
    await navigator.clipboard.writeText(text)
    setCopied(true)
  })
  return html`
    <button class="icon-button small" aria-label=${copied ? 'Copied' : `Copy ${what}`} title=${copied ? 'Copied' : `Copy ${what}`}
      onClick=${copy}>
      <${Icon} name=${copied ? 'check' : 'copy'} />
    </button>`
}

/** What an id that was given ends with says more than the hash it begins with. */
function middleOf (id) {
  return /^[\da-f]{32}-/.test(id) ? 33 : Math.max(0, id.length - TAIL)
}

const TAIL = 6
