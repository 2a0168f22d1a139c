import { html } from '../htm-preact.js'
import { layout } from './json-layout.js'
import { visible } from './visible-text.js'

/**
 * JSON text, laid out and coloured. It is not parsed: numbers too long for JavaScript, and keys that occur twice, stay as
 * they were written. What is no JSON stays as it is.
 */
export function JsonText ({ text }) {
  return layout(text).map(({ kind, text }) => kind === undefined ? text : html`<span class="json-${kind}">${visible(text)}</span>`)
}
