import { html, useEffect, useState } from './htm-preact.js'
import { Icon } from './icon.js'
import { attempt } from './notice.js'
import { visible } from './visible-text.js'

/** An id, with its middle left out where there is no room, and a link if it leads anywhere. */
export function Identifier ({ text, href }) {
  const shown = visible(text)
  const middle = Math.max(0, shown.length - TAIL)
  const parts = html`<span class="id-head">${shown.slice(0, middle)}</span><span class="id-tail">${shown.slice(middle)}</span>`
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
    <button class="icon-button small" aria-label=${copied ? 'Copied' : `Copy ${what}`} title=${copied ? 'Copied' : `Copy ${what}`} onClick=${copy}>
      <${Icon} name=${copied ? 'check' : 'copy'} />
    </button>`
}

const TAIL = 6
