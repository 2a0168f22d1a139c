import { ErrorText } from '../parts/error-text.js'
import { Headers } from './headers.js'
import { html, useState } from '../htm-preact.js'
import { Icon } from '../parts/icon.js'
import { LogList } from './log-list.js'
import { counted, duration, exactly } from './quantity.js'
import { resultText, resultTitle } from './state.js'
import { Time } from './time.js'
import { TraceId } from './trace-id.js'
import { visible } from '../parts/visible-text.js'

/** The attempts of a task, latest first; the latest is expanded. */
export function AttemptList ({ attempts, omitted }) {
  const latest = attempts.at(-1)
  return html`
    <ol class="attempts" reversed>
      ${attempts.toReversed().map(one => html`<${Attempt} key=${one.number} attempt=${one} latest=${one === latest} />`)}
    </ol>
    ${omitted > 0
      ? html`<p
      class="quiet">${counted(omitted, 'attempt')} not shown: no longer kept, or not observed by this console.</p>`
        : null}`
}

function Attempt ({ attempt, latest }) {
  const [chosen, setOpen] = useState(undefined)
  const open = chosen ?? latest
  const { number, startedAt, endedAt, result } = attempt
  const [word, tone] = outcomeOf(attempt)
  const id = `attempt-${number}`
  const showError = !open && attempt.error !== undefined
  return html`
    <li class="attempt ${tone}">
      <h3>
        <button class="attempt-head" aria-expanded=${open ? 'true' : 'false'} aria-controls=${id} onClick=${() => {
          setOpen(!open)
        }}>
          <span class="attempt-turn" data-open=${open ? 'yes' : undefined}><${Icon} name="chevron" /></span>
          <span class="attempt-number">Attempt ${number}</span>
          <span class="badge ${tone}" title=${result === undefined ? undefined : resultTitle(result)}>${word}</span>
          <span class="attempt-error">${showError ? html`<bdi>${visible(attempt.error.message)}</bdi>` : ''}</span>
          <span class="attempt-time">${endedAt === undefined ? 'started ' : html`<span>${duration(endedAt - startedAt)}</span> · `}
            <${Time} at=${startedAt} /></span>
        </button>
      </h3>
      ${open ? html`<div class="attempt-body" id=${id}><${AttemptBody} attempt=${attempt} /></div>` : html`<div id=${id} hidden></div>`}
    </li>`
}

function AttemptBody ({ attempt }) {
  const { startedAt, endedAt, result, error, text, logs, logsOmitted, dropReason, postponedUntil, retryAt, headers, trace } = attempt
  return html`
    ${error === undefined ? null : html`<section aria-label="Error"><${ErrorText} error=${error} /></section>`}
    ${dropReason === undefined ? null : html`<section><h4>Why it was dropped</h4><p><bdi>${visible(dropReason)}</bdi></p></section>`}
    ${postponedUntil === undefined ? null : html`<${Postponed} ...${attempt} />`}
    ${retryAt === undefined ? null : html`<p class="retry-at">${'Next attempt: '}<${Time} at=${retryAt} /></p>`}
    <section><h4>Log</h4><${LogList} logs=${logs} omitted=${logsOmitted} startedAt=${startedAt} /></section>
    ${text === undefined ? null : html`<${Answer} text=${text} />`}
    <details>
      <summary>Time and headers</summary>
      <dl class="facts">
        <div><dt>Started</dt><dd>${exactly(startedAt)}</dd></div>
        ${endedAt === undefined ? null : html`<div><dt>Ended</dt><dd>${exactly(endedAt)}</dd></div>`}
        ${result === undefined ? null : html`<div><dt>Result</dt><dd>${resultTitle(result)}</dd></div>`}
        ${trace === undefined ? null : html`<div><dt>Trace</dt><dd><${TraceId} trace=${trace} /></dd></div>`}
      </dl>
      <${Headers} headers=${headers} />
    </details>`
}

function Postponed ({ postponedUntil, postponeReason }) {
  return html`
    <section>
      <h4>Postponed</h4>
      <p>${'A copy of the task runs '}<${Time} at=${postponedUntil} />${'.'}</p>
      ${postponeReason === undefined ? null : html`<p><bdi>${visible(postponeReason)}</bdi></p>`}
    </section>`
}

/** The beginning of the target's response. */
function Answer ({ text }) {
  if (text === '') return html`<section><h4>Response of the target</h4><p class="quiet">No body.</p></section>`
  const isCut = new TextEncoder().encode(text).length >= KEPT_BYTES
  return html`
    <section>
      <h4>Response of the target${isCut ? ', the first 4 KiB' : ''}</h4>
      <pre class="code" tabindex="0" role="group" aria-label="Response">${visible(text)}</pre>
    </section>`
}

/** The emulator keeps 4096 bytes, and the last character can be truncated. */
const KEPT_BYTES = 4093

function outcomeOf ({ endedAt, result, dropReason, postponedUntil }) {
  if (endedAt === undefined) return ['running', 'busy']
  if (dropReason !== undefined) return ['dropped', 'calm']
  if (postponedUntil !== undefined) return ['postponed', 'calm']
  const success = typeof result === 'number' && result >= 200 && result < 300
  if (result === undefined) return ['ended', 'calm']
  return success ? [`done ${resultText(result)}`, 'good'] : [`failed ${resultText(result)}`, 'bad']
}
