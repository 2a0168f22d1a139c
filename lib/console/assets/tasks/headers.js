import { html } from '../htm-preact.js'
import { visible } from '../parts/visible-text.js'

export function Headers ({ headers }) {
  const entries = Object.entries(headers)
  if (entries.length === 0) return html`<p class="quiet">No headers.</p>`
  return html`
    <dl class="headers">
      ${entries.map(([key, value]) => html`<div key=${key}><dt>${visible(key)}</dt><dd><bdi>${visible(value)}</bdi></dd></div>`)}
    </dl>`
}
