import { html, useEffect, useState } from '../htm-preact.js'
import { Icon } from './icon.js'
import { withErrorNotice } from './notice.js'
import { visible } from './visible-text.js'

/** An id, with its middle truncated where space is short, and an optional link. */
export function Identifier ({ text, href }) {
  const shown = visible(text)
  const middle = middleOf(shown)
  // Screen readers get the whole id.
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
  const copy = () => withErrorNotice(async () => {
    if (navigator.clipboard === undefined) throw new Error('Copying is only possible over HTTPS or on localhost')
    await navigator.clipboard.writeText(text)
    setCopied(true)
  })
  return html`
    <button class="icon-button small" aria-label=${copied ? 'Copied' : `Copy ${what}`} title=${copied ? 'Copied' : `Copy ${what}`}
      onClick=${copy}>
      <${Icon} name=${copied ? 'check' : 'copy'} />
    </button>`
}

/** The end of a chosen id is more informative than the hash at its start. */
function middleOf (id) {
  return /^[\da-f]{32}-/.test(id) ? 33 : Math.max(0, id.length - TAIL)
}

const TAIL = 6
