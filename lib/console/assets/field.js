import { ArrayField, ObjectField, RecordField, TupleField } from './field-group.js'
import { faultText } from './fault.js'
import { idOf } from './field-id.js'
import { html, useState } from './htm-preact.js'
import { describe, rulesOf, variantName } from './schema.js'
import { initialValue, resembles, variantOf } from './schema-value.js'
import { visible } from './visible-text.js'

/**
 * The field of a value: what its schema asks for, or JSON where the value is of another kind.
 *
 * Every field takes `schema`, `value` (undefined when it is not there), `pointer`, `label`, `required`, `onChange` (which
 * takes the new value, undefined to leave it out) and `form`: `{ root, faults }`, faults being messages by pointer.
 */
export function Field (props) {
  const { schema, value, form } = props
  const about = describe(schema, form.root)
  if (value !== undefined && !['any', 'union', 'choice'].includes(about.kind) && !fieldTakes(about.kind, value) && !resembles(value, schema, form.root)) {
    return html`<${JsonField} ...${props} about=${about} odd />`
  }
  const Kind = KINDS[about.kind]
  return html`<${Kind} ...${props} about=${about} />`
}

/** A label, what is to be known of a value, and what is wrong with it, around its input. @param inline the label stands behind */
export function Labelled ({ pointer, label, required, about, form, note, children, inline = false }) {
  const id = idOf(pointer)
  const faults = form.faults.get(pointer) ?? []
  const words = html`
    <label for=${id}><bdi>${visible(label)}</bdi></label>
    <span class="rules">${[required ? undefined : 'optional', rulesOf(about, label), note].filter(Boolean).join(' · ')}</span>`
  return html`
    <div class="field ${faults.length > 0 ? 'faulty' : ''} ${inline ? 'inline' : ''}">
      ${inline ? html`<div class="label-row">${children}${words}</div>` : html`<div class="label-row">${words}</div>${children}`}
      <${Hints} pointer=${pointer} about=${about} label=${label} faults=${faults} />
    </div>`
}

export function Hints ({ pointer, about, label, faults }) {
  const hint = [about.title === label ? undefined : about.title, about.hint].filter(Boolean).join('. ')
  return html`
    ${hint === '' ? null : html`<p class="hint" id=${`${idOf(pointer)}-hint`}><bdi>${visible(hint)}</bdi></p>`}
    ${faults.length === 0 ? null : html`<p class="fault" id=${`${idOf(pointer)}-fault`}>${faults.map(faultText).join('; ')}</p>`}`
}

/** What ties an input to its hints and faults. */
export function described ({ pointer, about, label, required, form }) {
  const faulty = form.faults.has(pointer)
  const hinted = about.hint !== undefined || (about.title !== undefined && about.title !== label)
  const ids = [hinted ? `${idOf(pointer)}-hint` : '', faulty ? `${idOf(pointer)}-fault` : ''].filter(Boolean).join(' ')
  return {
    id: idOf(pointer),
    'aria-describedby': ids === '' ? undefined : ids,
    'aria-invalid': faulty ? 'true' : undefined,
    'aria-required': required ? 'true' : undefined
  }
}

function StringField (props) {
  const { value = '', about, required, onChange } = props
  const { format, schema } = about
  const change = text => { onChange(text === '' && !required ? undefined : text) }
  const attributes = { ...described(props), value, onInput: event => { change(event.target.value) }, autocomplete: 'off', spellcheck: false }
  if (value.includes('\n') || schema.maxLength > 300 || schema.contentMediaType !== undefined) {
    return html`<${Labelled} ...${props}><textarea rows="4" ...${attributes} /><//>`
  }
  const fill = FILLS[format]
  return html`
    <${Labelled} ...${props}>
      <div class="input-row">
        <input type=${INPUT_TYPES[format] ?? 'text'} placeholder=${PLACEHOLDERS[format]} ...${attributes} />
        ${fill === undefined ? null : html`<button type="button" class="button" aria-label=${`${fill.label}: ${visible(props.label)}`} onClick=${() => { change(fill.value()) }}>${fill.label}</button>`}
      </div>
    <//>`
}

function NumberField (props) {
  const { value, onChange } = props
  // What is being typed need not be a number yet: `-`, `1.`
  const [typed, setTyped] = useState('')
  const shown = Object.is(parseNumber(typed), value) ? typed : value === undefined ? '' : String(value)
  const change = event => {
    setTyped(event.target.value)
    onChange(parseNumber(event.target.value))
  }
  return html`<${Labelled} ...${props}><input type="text" inputmode="decimal" autocomplete="off" ...${described(props)} value=${shown} onInput=${change} /><//>`
}

function BooleanField (props) {
  const { value, required, onChange } = props
  if (typeof value === 'boolean' && required) {
    return html`<${Labelled} ...${props} inline><input type="checkbox" ...${described(props)} checked=${value} onChange=${event => { onChange(event.target.checked) }} /><//>`
  }
  return html`<${ChoiceField} ...${props} about=${{ ...props.about, values: [true, false] }} />`
}

function NullField (props) {
  return html`<${ChoiceField} ...${props} about=${{ ...props.about, values: [null] }} />`
}

function ChoiceField (props) {
  const { value, about, required, onChange } = props
  const place = value === undefined ? -1 : about.values.findIndex(one => same(one, value))
  const change = event => {
    const index = Number(event.target.value)
    onChange(index === -1 ? undefined : about.values[index])
  }
  const strange = value !== undefined && place === -1
  return html`
    <${Labelled} ...${props}>
      <select ...${described(props)} onChange=${change}>
        ${!required || place === -1 ? html`<option value="-1" selected=${place === -1}>${strange ? `${printChoice(value)} (none of these)` : required ? 'choose…' : 'not set'}</option>` : null}
        ${about.values.map((one, index) => html`<option key=${index} value=${index} selected=${index === place}>${printChoice(one)}</option>`)}
      </select>
    <//>`
}

function UnionField (props) {
  const { value, pointer, label, about, required, form, onChange } = props
  const { variants } = about
  const [chosen, setChosen] = useState(undefined)
  const fits = chosen !== undefined && value !== undefined && resembles(value, variants[chosen], form.root)
  const place = value === undefined ? -1 : fits ? chosen : variantOf(value, variants, form.root)
  const change = event => {
    const index = Number(event.target.value)
    setChosen(index)
    onChange(index === -1 ? undefined : initialValue(variants[index], form.root))
  }
  const id = `${idOf(pointer)}-variant`
  const inner = place === -1 ? undefined : describe(variants[place], form.root)
  return html`
    <div class="field union">
      <div class="label-row"><label for=${id}><bdi>${visible(label)}</bdi></label><span class="rules">${required ? 'one of these kinds' : 'optional · one of these kinds'}</span></div>
      <select id=${id} onChange=${change}>
        ${place === -1 || !required ? html`<option value="-1" selected=${place === -1}>${required ? 'choose…' : 'not set'}</option>` : null}
        ${variants.map((variant, index) => html`<option key=${index} value=${index} selected=${index === place}>${visible(variantName(variant, form.root))}</option>`)}
      </select>
      <${Hints} pointer=${inner === undefined ? pointer : `${pointer}-`} about=${about} label=${label} faults=${inner === undefined ? form.faults.get(pointer) ?? [] : []} />
      ${inner === undefined || inner.kind === 'null' ? null : html`<div class="variant" key=${place}><${Field} ...${props} schema=${variants[place]} required /></div>`}
    </div>`
}

/** For what has no form of its own. @param odd the value is of another kind than the schema asks for */
function JsonField (props) {
  const { value, about, form, required, onChange, odd = false } = props
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
  const note = current && parsed.error !== undefined ? 'not JSON yet' : 'JSON'
  return html`
    <${Labelled} ...${props} note=${note}>
      <textarea class="mono" rows=${Math.min(12, Math.max(2, shown.split('\n').length))} spellcheck=${false} ...${described(props)} value=${shown} onInput=${change} />
      ${odd ? html`<p class="hint">This is of another kind than ${required ? 'it should be' : 'the schema asks for'}. <button type="button" class="link" onClick=${() => { onChange(initialValue(about.schema, form.root)) }}>Begin anew</button></p>` : null}
    <//>`
}

const KINDS = {
  object: ObjectField,
  record: RecordField,
  array: ArrayField,
  tuple: TupleField,
  string: StringField,
  number: NumberField,
  integer: NumberField,
  boolean: BooleanField,
  null: NullField,
  choice: ChoiceField,
  union: UnionField,
  any: JsonField
}

/** A number being typed is text for a while. */
function fieldTakes (kind, value) {
  return (kind === 'number' || kind === 'integer') && (typeof value === 'string' || typeof value === 'number')
}

const INPUT_TYPES = { email: 'email', uri: 'url', date: 'date' }
const PLACEHOLDERS = { 'date-time': '2030-01-31T12:00:00Z', time: '12:00:00Z', duration: 'P1D', email: 'name@example.com', uri: 'https://example.com', uuid: '00000000-0000-4000-8000-000000000000' }
const FILLS = {
  'date-time': { label: 'Now', value: () => new Date().toISOString() },
  uuid: { label: 'New', value: randomUuid }
}

/** Undefined for nothing; what is no number stays text, for the server to judge. */
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

/** `crypto.randomUUID` is there over HTTPS and from localhost only. */
function randomUuid () {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6] & 0x0f) | 0x40
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
