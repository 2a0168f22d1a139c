import { html } from '../htm-preact.js'

/** Explains why there is nothing to show, and what to do. */
export function EmptyState ({ title, tone = 'calm', children }) {
  return html`<div class="empty-state ${tone}" role=${tone === 'bad' ? 'alert' : undefined}>
    <p class="empty-title">${title}</p>${children}</div>`
}
