import { idOf } from './field-id.js'
import { BooleanField, ChoiceField, JsonField, NullField, NumberField, StringField } from './inputs.js'
import { Hints } from './labelled.js'
import { readable, under } from './pointer.js'
import { describe, rulesOf, variantName } from './schema.js'
import { extraKeys, initialValue, resembles, variantOf } from './schema-value.js'
import { html, useEffect, useRef, useState } from '../htm-preact.js'
import { Icon } from '../parts/icon.js'
import { visible } from '../parts/visible-text.js'

/**
 * The form field of a value according to its schema, or a JSON field where the value does not have the schema's type.
 *
 * Props of all fields: `schema`, `value` (undefined if absent), `pointer`, `label`, `required`, `onChange` (called with the new value,
 * or undefined to remove it) and `form`: `{ root, faults }`, with messages by pointer.
 */
export function Field (props) {
  const { schema, value, form } = props
  const about = describe(schema, form.root)
  if (
    value !== undefined &&
    !['any', 'union', 'choice'].includes(about.kind) &&
    !fieldAccepts(about.kind, value) &&
    !resembles(value, schema, form.root)
  ) {
    return html`<${JsonField} ...${props} about=${about} mismatch />`
  }
  const Kind = KINDS[about.kind]
  return html`<${Kind} ...${props} about=${about} />`
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
      <div class="label-row"><label for=${id}><bdi>${visible(label)}</bdi></label>
        <span class="rules">${required ? 'one of these kinds' : 'optional · one of these kinds'}</span></div>
      <select id=${id} onChange=${change}>
        ${place === -1 || !required
          ? html`<option value="-1"
          selected=${place === -1}>${required ? 'choose…' : 'not set'}</option>`
            : null}
        ${variants.map((variant, index) => html`<option key=${index} value=${index}
          selected=${index === place}>${visible(variantName(variant, form.root))}</option>`)}
      </select>
      <${Hints} pointer=${inner === undefined ? pointer : `${pointer}-`} about=${about} label=${label}
        faults=${inner === undefined ? (form.faults.get(pointer) ?? []) : []} />
      ${inner === undefined || inner.kind === 'null'
        ? null
        : html`<div class="variant" key=${place}>
        <${Field} ...${props} schema=${variants[place]} required /></div>`}
    </div>`
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

/** A number is text while it is being typed. */
function fieldAccepts (kind, value) {
  return (kind === 'number' || kind === 'integer') && (typeof value === 'string' || typeof value === 'number')
}

/** A group of fields with a legend; an absent optional group is a button that adds it. */
function Group ({ pointer, label, required, about, form, value, onChange, children }) {
  const faults = form.faults.get(pointer) ?? []
  const rules = [required ? undefined : 'optional', rulesOf(about)].filter(Boolean).join(' · ')
  const hints = html`<${Hints} pointer=${pointer} about=${about} label=${label} faults=${faults} />`
  if (pointer === '') return html`<div class="fields" id=${idOf(pointer)} tabindex="-1">${hints}${children}</div>`
  const name = visible(readable(pointer))
  if (value === undefined) {
    return html`
      <div class="field absent ${faults.length > 0 ? 'faulty' : ''}">
        <div class="label-row"><span class="label"><bdi>${visible(label)}</bdi></span><span class="rules">${rules}</span>
          <button type="button" class="button small" id=${idOf(pointer)} aria-label=${`Add ${name}`} onClick=${() => {
            onChange(initialValue(about.schema, form.root))
          }}><${Icon} name="plus" />Add</button>
        </div>
        ${hints}
      </div>`
  }
  return html`
    <div class="field group ${faults.length > 0 ? 'faulty' : ''}" id=${idOf(pointer)} role="group"
      aria-labelledby=${`${idOf(pointer)}-legend`} tabindex="-1">
      <div class="label-row"><span class="label" id=${`${idOf(pointer)}-legend`}><bdi>${visible(label)}</bdi></span>
        <span class="rules">${rules}</span>
        ${
          required
            ? null
            : html`<button type="button" class="button small" aria-label=${`Leave out ${name}`} onClick=${() => {
                onChange(undefined)
              }}>Leave out</button>`
        }
      </div>
      ${hints}
      ${children}
    </div>`
}

function ObjectField (props) {
  const { value, pointer, about, form, onChange } = props
  const change = (key, next) => { onChange(withKey(value ?? {}, key, next)) }
  const own = key => value !== undefined && Object.hasOwn(value, key) ? value[key] : undefined
  return html`
    <${Group} ...${props}>
      ${about.properties.map(
        ({ key, schema, required }) =>
          html`<${Field} key=${key} schema=${schema} value=${own(key)} pointer=${under(pointer, key)} label=${key} required=${required}
            form=${form} onChange=${next => {
            change(key, next)
          }} />`
      )}
      ${
        value === undefined
          ? null
          : extraKeys(about, value).map(
              key =>
                html`<${Removable} key=${`extra ${key}`} pointer=${under(pointer, key)} onRemove=${() => {
                  change(key, undefined)
                }}><${Field} schema=${about.extra ?? {}} value=${value[key]} pointer=${under(pointer, key)} label=${key} required
                  form=${form} onChange=${next => {
                  change(key, next ?? null)
                }} /><//>`
            )
      }
      ${
        about.extra === undefined
          ? null
          : html`<${NewKey} pointer=${pointer} taken=${key => own(key) !== undefined} onAdd=${key => {
              change(key, initialValue(about.extra, form.root))
            }} />`
      }
      ${about.properties.length === 0 && about.extra === undefined
        ? html`<p
        class="quiet">This task has no data: the payload is an empty object.</p>`
          : null}
    <//>`
}

function RecordField (props) {
  return html`<${ObjectField} ...${props} />`
}

function ArrayField (props) {
  const { value, pointer, about, form, label, onChange } = props
  const items = value ?? []
  const list = useNewFocus(items.length)
  const add = () => {
    list.expect()
    onChange([...items, initialValue(about.items, form.root)])
  }
  const name = pointer === '' ? 'the payload' : visible(readable(pointer))
  return html`
    <${Group} ...${props}>
      <div class="items" ref=${list.ref}>
        ${items.map(
          (item, index) =>
            html`<${Removable} key=${index} pointer=${under(pointer, index)} onRemove=${() => {
              onChange(items.toSpliced(index, 1))
            }}><${Field} schema=${about.items} value=${item} pointer=${under(pointer, index)} label=${`${label} ${index + 1}`} required
              form=${form} onChange=${next => {
              onChange(items.with(index, next ?? null))
            }} /><//>`
        )}
      </div>
      ${items.length === 0 ? html`<p class="quiet">Empty.</p>` : null}
      <button type="button" class="button small" aria-label=${`Add an item to ${name}`} onClick=${add}>
        <${Icon} name="plus" />Add an item</button>
    <//>`
}

function TupleField (props) {
  const { value, pointer, about, form, label, onChange } = props
  const items = value ?? []
  const places = Math.max(about.list.length, items.length)
  const change = (index, next) => {
    onChange(
      Array.from({ length: Math.max(items.length, index + 1) }, (_, place) => (place === index ? (next ?? null) : (items[place] ?? null)))
    )
  }
  return html`
    <${Group} ...${props}>
      ${Array.from(
        { length: places },
        (_, index) =>
          html`<${Field} key=${index} schema=${about.list[index] ?? about.items ?? {}} value=${items[index]}
            pointer=${under(pointer, index)} label=${`${label} ${index + 1}`} required form=${form} onChange=${next => {
            change(index, next)
          }} />`
      )}
      ${
        about.items === undefined
          ? null
          : html`<button type="button" class="button small" onClick=${() => {
              change(items.length, initialValue(about.items, form.root))
            }}><${Icon} name="plus" />Add an item</button>`
      }
    <//>`
}

function Removable ({ pointer, onRemove, children }) {
  const name = visible(readable(pointer))
  return html`<div class="removable">${children}<button type="button" class="icon-button" aria-label=${`Remove ${name}`}
    title=${`Remove ${name}`} onClick=${onRemove}><${Icon} name="close" /></button></div>`
}

function NewKey ({ pointer, taken, onAdd }) {
  const [key, setKey] = useState('')
  const add = () => {
    if (key === '' || taken(key)) return
    onAdd(key)
    setKey('')
  }
  const press = event => {
    if (event.key !== 'Enter' || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    add()
  }
  const where = pointer === '' ? 'the payload' : visible(readable(pointer))
  return html`
    <div class="input-row new-key">
      <input type="text" autocomplete="off" spellcheck=${false} placeholder="New key" aria-label=${`New key in ${where}`} value=${key}
        onInput=${event => {
        setKey(event.target.value)
      }} onKeyDown=${press} />
      <button type="button" class="button" aria-label=${`Add the key to ${where}`} disabled=${key === '' || taken(key)} onClick=${add}>
        <${Icon} name="plus" />Add</button>
    </div>`
}

/** Focuses the first input of a newly added item. */
function useNewFocus (length) {
  const ref = useRef(null)
  const expected = useRef(false)
  useEffect(() => {
    if (!expected.current) return
    expected.current = false
    ref.current.lastElementChild?.querySelector('input, textarea, select, button')?.focus()
  }, [length])
  return { ref, expect: () => { expected.current = true } }
}

/** Handles `__proto__` like any other key. */
function withKey (object, key, value) {
  const entries = Object.entries(object)
  if (value === undefined) return Object.fromEntries(entries.filter(([name]) => name !== key))
  if (!Object.hasOwn(object, key)) return Object.fromEntries([...entries, [key, value]])
  return Object.fromEntries(entries.map(([name, old]) => [name, name === key ? value : old]))
}
