import { html } from '../htm-preact.js'
import { counted } from '../tasks/quantity.js'
import { visible } from './visible-text.js'

/** An error with its stack and causes. Lines of the app's own code are highlighted. */
export function ErrorText ({ error }) {
  const { causes = [] } = error
  return html`
    <div class="error-text">
      <${One} error=${error} />
      ${causes.map((cause, index) => html`<div class="cause" key=${index}><p class="cause-head">Caused by</p>
        <${One} error=${cause} above=${causes[index - 1] ?? error} /></div>`)}
    </div>`
}

function One ({ error, above }) {
  const { name, message, code, stack } = error
  return html`
    <p class="error-head"><span class="error-name">${visible(name)}</span>${code === undefined
      ? null
      : html` <code
      class="error-code">${visible(code)}</code>`}<bdi class="error-message">${visible(message)}</bdi></p>
    ${stack === undefined ? null : html`<${Stack} frames=${framesOf(stack)} above=${framesOf(above?.stack)} />`}`
}

/** @param above the frames of the error above: common frames at the end are shown once */
function Stack ({ frames, above }) {
  if (frames.length === 0) return null
  let shared = 0
  while (shared < frames.length - 1 && frames.at(-1 - shared) === above.at(-1 - shared)) shared++
  return html`
    <pre class="code stack" tabindex="0" role="group" aria-label="Stack">
      ${frames.slice(0, frames.length - shared).map((line, index) => html`<span key=${index}
        class=${isForeign(line) ? 'foreign' : 'own'}>${visible(line.trim())}</span>`)}
      ${shared === 0 ? null : html`<span class="foreign">and ${counted(shared, 'line')} as above</span>`}
    </pre>`
}

/** Without the first lines, which repeat name and message. */
function framesOf (stack) {
  if (stack === undefined) return []
  const lines = stack.split('\n')
  const first = lines.findIndex(line => /^\s+at /.test(line))
  return first === -1 ? lines.slice(1) : lines.slice(first)
}

function isForeign (line) {
  return /[\\/]node_modules[\\/]|\(node:|at node:|\(native\)|<anonymous>/.test(line)
}
