import { described, Labelled } from './labelled.js'
import { initialValue } from './schema-value.js'
import { html, useState } from '../htm-preact.js'
import { visible } from '../parts/visible-text.js'

export function StringField (props) {
  const { value = '', about, required, onChange } = props
  const { format, schema } = about
  const change = text => { onChange(text === '' && !required ? undefined : text) }
  const attributes = {
    ...described(props),
    value,
    onInput: event => {
      change(event.target.value)
    },
    autocomplete: 'off',
    spellcheck: false
  }
  if (value.includes('\n') || schema.maxLength > 300 || schema.contentMediaType !== undefined) {
    return html`<${Labelled} ...${props}><textarea rows="4" ...${attributes} /><//>`
  }
  const fill = FILLS[format]
  return html`
    <${Labelled} ...${props}>
      <div class="input-row">
        <input type=${INPUT_TYPES[format] ?? 'text'} placeholder=${PLACEHOLDERS[format]} ...${attributes} />
        ${
          fill === undefined
            ? null
            : html`<button type="button" class="button" aria-label=${`${fill.label}: ${visible(props.label)}`} onClick=${() => {
                change(fill.value())
              }}>${fill.label}</button>`
        }
      </div>
    <//>`
}

export function NumberField (props) {
  const { value, onChange } = props
  // Incomplete input need not be a number yet: `-`, `1.`
  const [typed, setTyped] = useState('')
  const shown = Object.is(parseNumber(typed), value) ? typed : value === undefined ? '' : String(value)
  const change = event => {
    setTyped(event.target.value)
    onChange(parseNumber(event.target.value))
  }
  return html`<${Labelled} ...${props}><input type="text" inputmode="decimal" autocomplete="off" ...${described(props)} value=${shown}
    onInput=${change} /><//>`
}

export function BooleanField (props) {
  const { value, required, onChange } = props
  if (typeof value === 'boolean' && required) {
    return html`<${Labelled} ...${props} inline><input type="checkbox" ...${described(props)} checked=${value} onChange=${event => {
      onChange(event.target.checked)
    }} /><//>`
  }
  return html`<${ChoiceField} ...${props} about=${{ ...props.about, values: [true, false] }} />`
}

export function NullField (props) {
  return html`<${ChoiceField} ...${props} about=${{ ...props.about, values: [null] }} />`
}

export function ChoiceField (props) {
  const { value, about, required, onChange } = props
  const place = value === undefined ? -1 : about.values.findIndex(one => same(one, value))
  const change = event => {
    const index = Number(event.target.value)
    onChange(index === -1 ? undefined : about.values[index])
  }
  const unknown = value !== undefined && place === -1
  return html`
    <${Labelled} ...${props}>
      <select ...${described(props)} onChange=${change}>
        ${!required || place === -1
          ? html`<option value="-1"
          selected=${place === -1}>${unknown ? `${printChoice(value)} (none of these)` : required ? 'choose…' : 'not set'}</option>`
            : null}
        ${about.values.map((one, index) => html`<option key=${index} value=${index}
          selected=${index === place}>${printChoice(one)}</option>`)}
      </select>
    <//>`
}

/** For values without a specific field. @param mismatch whether the value does not have the schema's type */
export function JsonField (props) {
  const { value, about, form, onChange, mismatch = false } = props
  const [typed, setTyped] = useState(undefined)
  const parsed = typed === undefined ? undefined : parseJson(typed)
  const current = parsed !== undefined && (parsed.error !== undefined || same(parsed.value, value))
  const shown = current ? typed : value === undefined ? '' : JSON.stringify(value, null, 2)
  const change = event => {
    const text = event.target.value
    setTyped(text)
    const next = text.trim() === '' ? { value: undefined } : parseJson(text)
    if (next.error === undefined) onChange(next.value)
  }
  const note = current && parsed.error !== undefined ? 'invalid JSON' : 'JSON'
  return html`
    <${Labelled} ...${props} note=${note}>
      <textarea class="mono" rows=${Math.min(12, Math.max(2, shown.split('\n').length))} spellcheck=${false} ...${described(props)}
        value=${shown} onInput=${change} />
      ${
        mismatch
          ? html`<p class="hint">The value does not have the type in the schema. <button type="button"
            class="link" onClick=${() => {
              onChange(initialValue(about.schema, form.root))
            }}>Reset</button></p>`
          : null
      }
    <//>`
}

const INPUT_TYPES = { email: 'email', uri: 'url', date: 'date' }
const PLACEHOLDERS = {
  'date-time': '2030-01-31T12:00:00Z',
  time: '12:00:00Z',
  duration: 'P1D',
  email: 'name@example.com',
  uri: 'https://example.com',
  uuid: '00000000-0000-4000-8000-000000000000'
}
const FILLS = {
  'date-time': { label: 'Now', value: () => new Date().toISOString() },
  uuid: { label: 'New', value: randomUuid }
}

/** Undefined for empty input; invalid numbers stay text, so that the server reports them. */
function parseNumber (typed) {
  const text = typed.trim()
  if (text === '') return undefined
  return /^-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : typed
}

function parseJson (text) {
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    return { error }
  }
}

function same (one, other) {
  return JSON.stringify(one) === JSON.stringify(other)
}

function printChoice (value) {
  return typeof value === 'string' && value !== '' ? visible(value) : JSON.stringify(value)
}

/** `crypto.randomUUID` is only available over HTTPS and on localhost. */
function randomUuid () {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6] & 0x0f) | 0x40
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
