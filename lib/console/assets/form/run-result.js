import { ErrorText } from '../parts/error-text.js'
import { faultText, focusFault } from './fault.js'
import { html } from '../htm-preact.js'
import { JsonText } from '../parts/json-text.js'
import { LogList } from '../tasks/log-list.js'
import { readable } from './pointer.js'
import { duration, exactly } from '../tasks/quantity.js'
import { visible } from '../parts/visible-text.js'

/** The result of a run. */
export function RunResult ({ report }) {
  const { outcome, durationMs, value, faults = [], error, dropReason, postponedUntil, postponeReason, logs } = report
  const [word, tone, text] = {
    done: ['Done', 'good', `in ${duration(durationMs)}`],
    failed: ['Failed', 'bad', `after ${duration(durationMs)}`],
    dropped: ['Dropped', 'warn', `after ${duration(durationMs)}: it would not be retried`],
    postponed: ['Postponed', 'warn', `after ${duration(durationMs)}: a copy would run at ${exactly(postponedUntil)}`],
    invalid: ['Not run', 'bad', 'the payload does not match the schema']
  }[outcome]
  return html`
    <section class="panel run-result ${tone}" aria-labelledby="result-title">
      <div class="panel-head" role="status"><h2 id="result-title"><span class="badge ${tone}">${word}</span></h2>
        <span class="quiet">${text}</span></div>
      <div class="panel-body">
        ${outcome === 'invalid' ? html`<${Faults} faults=${faults} />` : null}
        ${error === undefined ? null : html`<${ErrorText} error=${error} />`}
        ${dropReason === undefined ? null : html`<p><bdi>${visible(dropReason)}</bdi></p>`}
        ${postponeReason === undefined ? null : html`<p><bdi>${visible(postponeReason)}</bdi></p>`}
        ${outcome !== 'done'
          ? null
          : value === undefined
          ? html`<p class="quiet">No return value.</p>`
          : html`<h3>Return value</h3>
          <pre class="code" tabindex="0" role="group" aria-label="Return value"><${JsonText} text=${value} /></pre>`}
        ${outcome === 'invalid' ? null : html`<h3>Log</h3><${LogList} logs=${logs} />`}
      </div>
    </section>`
}

function Faults ({ faults }) {
  return html`
    <ul class="faults">
      ${faults.map(
        ({ path, message }) =>
          html`<li key=${`${path} ${message}`}><button class="link fault" onClick=${() => {
            focusFault(path)
          }}>${path === '' ? null : html`<code>${visible(readable(path))}</code> `}${faultText(message)}</button></li>`
      )}
    </ul>`
}
