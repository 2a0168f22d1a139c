import { drafts } from '../data/draft.js'
import { EnqueueForm } from './enqueue-form.js'
import { faultText, focusFault } from './fault.js'
import { Field } from './field.js'
import { html, useEffect, useMemo, useRef, useState } from '../htm-preact.js'
import { JsonText } from '../parts/json-text.js'
import { withErrorNotice } from '../parts/notice.js'
import { readable } from './pointer.js'
import { RunResult } from './run-result.js'
import { describe } from './schema.js'
import { fieldPointers, initialValue } from './schema-value.js'
import { post } from '../data/server.js'
import { useValidation } from './validation.js'
import { visible } from '../parts/visible-text.js'

/** The payload as a form and as JSON, with buttons to run and enqueue it. */
export function RunForm ({ task, queues }) {
  const { name, method, path, queue, schema, handler } = task
  const [text, setText] = useState(() => drafts.get(name) ?? initialText(task))
  // An untouched form shows no faults.
  const [touched, setTouched] = useState(false)
  const [result, setResult] = useState(undefined)
  const [running, setRunning] = useState(false)
  const results = useRef(null)
  const validation = useValidation(name, text)
  const parsed = useMemo(() => parse(text), [text])
  const shownFaults = touched ? validation.errors : []
  const faults = useMemo(() => byPointer(shownFaults), [touched, validation.errors])

  const write = next => {
    drafts.set(name, next)
    setTouched(true)
    setText(next)
  }
  const run = () => withErrorNotice(async () => {
    if (running) return
    setTouched(true)
    setRunning(true)
    try {
      const report = await post('run', { task: name, text })
      setResult({ report, count: (result?.count ?? 0) + 1 })
    } finally {
      setRunning(false)
    }
  })
  useEffect(() => {
    if (result === undefined) return
    const { outcome, faults } = result.report
    if (outcome === 'invalid' && faults.length > 0) focusFault(faults[0].path)
    else results.current.firstElementChild.firstElementChild.scrollIntoView({ block: 'nearest' })
  }, [result])
  const press = event => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
    event.preventDefault()
    if (handler) run()
  }
  return html`
    <div class="run-form" onKeyDown=${press}>
      <div class="view-head">
        <div class="task-title"><h1><bdi>${visible(name)}</bdi></h1></div>
        <p class="quiet run-facts"><code>${method} <bdi>${visible(path)}</bdi></code> on queue <bdi>${visible(queue)}</bdi></p>
      </div>
      <div class="run-columns">
        <section class="panel run-fields" aria-labelledby="fields-title">
          <div class="panel-head"><h2 id="fields-title">Payload</h2>
            <${ValidationBadge} validation=${validation} touched=${touched} /></div>
          <div class="panel-body">
            ${
              parsed.error !== undefined
                ? html`<p class="quiet">The form is available again when the JSON is valid.</p>`
                : html`<${Field} schema=${schema} value=${parsed.value} pointer="" label="payload" required
                  form=${{ root: schema, faults }} onChange=${value => {
                    write(print(value))
                  }} />`
            }
            <${OtherFaults} faults=${shownFaults} schema=${schema} parsed=${parsed} />
          </div>
          <div class="run-actions">
            <button class="button primary" aria-disabled=${running ? 'true' : undefined} disabled=${!handler} title="Ctrl+Enter"
              onClick=${run}>${running ? 'Running…' : 'Run now'}</button>
            <span class="quiet">${handler
              ? 'Runs the handler once, in this process, without queue or retry.'
              : 'This process has no handler for this task, so it can only be enqueued.'}</span>
          </div>
          <${EnqueueForm} task=${name} queue=${queue} text=${text} queues=${queues} onTry=${() => {
            setTouched(true)
          }} />
        </section>
        <div class="run-side">
          <section class="panel" aria-labelledby="json-title">
            <div class="panel-head"><h2 id="json-title"><label for="payload-json">As JSON</label></h2>
              <span class="panel-links">
                <button class="link" onClick=${() => {
                  if (parsed.error === undefined) write(print(parsed.value))
                }} disabled=${parsed.error !== undefined}>Format</button>
                <button class="link" onClick=${() => {
                  write(initialText(task))
                }}>Reset</button>
              </span>
            </div>
            <textarea id="payload-json" class="mono json-area" spellcheck=${false} autocomplete="off"
              rows=${Math.min(17, Math.max(5, text.split('\n').length + 1))}
              aria-invalid=${touched && validation.errors.length > 0 ? 'true' : undefined} value=${text} onInput=${event => {
                write(event.target.value)
              }} />
          </section>
          <div ref=${results}>${result === undefined ? null : html`<${RunResult} key=${result.count} report=${result.report} />`}</div>
          <details class="panel schema"><summary>Schema of the payload</summary>
            <pre class="code" tabindex="0" role="group" aria-label="Schema"><${JsonText} text=${JSON.stringify(schema ?? null)} /></pre>
            </details>
        </div>
      </div>
    </div>`
}

/** The result of the server's validation, updated while typing. */
function ValidationBadge ({ validation, touched }) {
  const { state, errors } = validation
  const [tone, text] = state === 'checking'
    ? ['calm', 'Checking…']
    : state === 'unknown'
      ? ['warn', 'Not checked']
      : errors.length === 0
        ? ['good', 'Matches the schema']
        : touched ? ['bad', errors.length === 1 ? '1 problem' : `${errors.length} problems`] : ['calm', 'Incomplete']
  return html`<span class="badge ${tone}" role="status">${text}</span>`
}

/** Faults without a field; the others are shown at their field. */
function OtherFaults ({ faults, schema, parsed }) {
  const pointers = parsed.error === undefined ? fieldPointers(schema, parsed.value, schema) : new Set()
  const others = faults.filter(({ path }) => !pointers.has(path))
  if (others.length === 0) return null
  return html`<ul class="faults">${others.map(({ path, message }) => html`<li key=${`${path} ${message}`}
    class="fault">${path === '' ? null : html`<code>${visible(readable(path))}</code> `}${faultText(message)}</li>`)}</ul>`
}

function initialText ({ schema }) {
  return print(describe(schema, schema).kind === 'any' ? {} : initialValue(schema, schema))
}

function print (value) {
  return value === undefined ? '' : JSON.stringify(value, null, 2)
}

function parse (text) {
  try {
    return { value: text.trim() === '' ? undefined : JSON.parse(text) }
  } catch (error) {
    return { error }
  }
}

function byPointer (faults) {
  const found = new Map()
  for (const { path, message } of faults) found.set(path, [...found.get(path) ?? [], message])
  return found
}
