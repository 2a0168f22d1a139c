import { idOf } from './field-id.js'
import { visible } from '../parts/visible-text.js'

/** Brings the focus to the field that a fault points at, or to the text. */
export function focusFault (path) {
  const field = document.getElementById(idOf(path)) ?? document.getElementById('payload-json')
  field.focus()
}

/** Validators shout, and name twice what is missing. */
export function faultText (message) {
  return visible(message).replace(/^must have required property '.*'$/s, 'is missing').replace(/\bNOT\b/, 'not')
}
