import { idOf } from './field-id.js'
import { visible } from '../parts/visible-text.js'

/** Focuses the field of a fault, or the JSON text. */
export function focusFault (path) {
  const field = document.getElementById(idOf(path)) ?? document.getElementById('payload-json')
  field.focus()
}

/** Adapts ajv's messages, which have NOT in capitals and repeat the name of a missing field. */
export function faultText (message) {
  return visible(message).replace(/^must have required property '.*'$/s, 'is missing').replace(/\bNOT\b/, 'not')
}
