import { html } from '../htm-preact.js'
import { CopyButton, Identifier } from '../parts/identifier.js'

/** The id of a trace, which leads to it where the console knows how. */
export function TraceId ({ trace }) {
  return html`<span class="with-copy"><${Identifier} text=${trace.id} href=${trace.url} /><${CopyButton}
    text=${trace.id} what="the trace id" /></span>`
}
