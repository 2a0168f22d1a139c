import { html } from '../htm-preact.js'

/** Says why there is nothing to see, and what to do about it. */
export function Blank ({ title, tone = 'calm', children }) {
  return html`<div class="blank ${tone}" role=${tone === 'bad' ? 'alert' : undefined}><p class="blank-title">${title}</p>${children}</div>`
}
