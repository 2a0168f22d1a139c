import { faultText } from './fault.js'
import { idOf } from './field-id.js'
import { rulesOf } from './schema.js'
import { html } from '../htm-preact.js'
import { visible } from '../parts/visible-text.js'

/** An input with its label, rules, hint and faults. @param inline whether the label follows the input */
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

/** Attributes that associate an input with its hints and faults. */
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
