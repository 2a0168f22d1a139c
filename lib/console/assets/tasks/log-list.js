import { html } from '../htm-preact.js'
import { JsonText } from '../parts/json-text.js'
import { counted, duration, exactly } from './quantity.js'
import { visible } from '../parts/visible-text.js'

/** Log lines, with their time since `startedAt`. */
export function LogList ({ logs, omitted = 0, startedAt }) {
  if (logs.length === 0) {
    return html`<p class="quiet">${omitted > 0 ? `${counted(omitted, 'log line')}, no longer kept.` : 'Nothing was logged.'}</p>`
  }
  const from = startedAt ?? logs[0].at
  return html`
    <ol class="logs" tabindex="0" aria-label="Log lines">
      ${logs.map((line, index) => html`<${Line} key=${index} line=${line} from=${from} />`)}
    </ol>
    ${omitted > 0 ? html`<p class="quiet">${counted(omitted, 'log line')} omitted in between.</p>` : null}`
}

function Line ({ line, from }) {
  const { at, level, message, fields } = line
  return html`
    <li class="log ${level}">
      <time datetime=${new Date(at).toISOString()} title=${exactly(at)}>+${at - from < 1 ? '0 ms' : duration(at - from)}</time>
      <span class="log-level">${level}</span>
      <span class="log-text"><bdi>${visible(message)}</bdi>${fields === undefined ? null : html`<${Fields} text=${fields} />`}</span>
    </li>`
}

/** Inline if short. Long fields, such as an error with its stack, are collapsed: the attempt shows its own error already. */
function Fields ({ text }) {
  if (text.length <= 200) return html` <code class="log-fields">${visible(text)}</code>`
  return html`<details class="log-more"><summary>${visible(namesOf(text))}</summary><code class="log-fields"><${JsonText} text=${text} />
    </code></details>`
}

function namesOf (text) {
  try {
    return Object.keys(JSON.parse(text)).join(', ')
  } catch {
    // Truncated JSON.
    return 'fields (truncated)'
  }
}
