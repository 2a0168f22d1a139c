import { html } from '../htm-preact.js'
import { layout } from './json-layout.js'
import { visible } from './visible-text.js'

/**
 * JSON text, formatted and highlighted. It is not parsed, so that large numbers and duplicate keys are preserved. Invalid JSON is shown
 * as it is.
 */
export function JsonText ({ text }) {
  return layout(text).map(({ kind, text }) => kind === undefined ? text : html`<span class="json-${kind}">${visible(text)}</span>`)
}
