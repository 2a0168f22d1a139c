import { html } from '../htm-preact.js'
import { CopyButton } from './identifier.js'
import { JsonText } from './json-text.js'
import { bytes } from '../tasks/quantity.js'
import { payloadUrl } from '../data/server.js'
import { visible } from './visible-text.js'

const KINDS = { binary: 'Binary, shown as Base64', json: 'JSON', text: 'Text' }

/** The body of a task; if truncated, with a link to the whole. */
export function Payload ({ name, payload, kept }) {
  const { kind, text, cut } = payload
  if (kind === 'none') return html`<p class="quiet">No payload.</p>`
  const shown = kind === 'json' && !cut ? html`<${JsonText} text=${text} />` : visible(text)
  return html`
    <div class="payload">
      <div class="payload-head">
        <span class="quiet">${KINDS[kind]}, ${bytes(payload.bytes)}</span>
        ${cut ? null : html`<${CopyButton} text=${text} what="the payload" />`}
      </div>
      <pre class="code" tabindex="0" role="group" aria-label="Payload">${shown}${cut ? '…' : ''}</pre>
      ${cut && kept
        ? html`<p class="quiet">Truncated.${' '}
          <a href=${payloadUrl(name)} download>Download the whole payload</a></p>`
        : null}
      ${cut && !kept ? html`<p class="quiet">Truncated. The rest is no longer kept.</p>` : null}
    </div>`
}
