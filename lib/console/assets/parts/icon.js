import { html } from '../htm-preact.js'

const PATHS = {
  sun: 'M8 4.75a3.25 3.25 0 1 0 0 6.5 3.25 3.25 0 0 0 0-6.5M8 .9v1.6M8 13.5v1.6M15.1 8h-1.6M2.5 8H.9' +
    'M13 3l-1.1 1.1M4.1 11.9 3 13M13 13l-1.1-1.1M4.1 4.1 3 3',
  moon: 'M13.6 9.6A6 6 0 0 1 6.4 2.4a6 6 0 1 0 7.2 7.2Z',
  help: 'M5.9 5.9a2.1 2.1 0 1 1 3.2 1.8c-.7.4-1.1.8-1.1 1.6v.2M8 11.9v.1M8 1.2a6.8 6.8 0 1 0 0 13.6A6.8 6.8 0 0 0 8 1.2',
  copy: 'M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z',
  check: 'm2.8 8.6 3.4 3.4 7-8',
  close: 'm3.5 3.5 9 9m0-9-9 9',
  plus: 'M8 3v10M3 8h10',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M4.5 2.8v10.4L13 8z',
  chevron: 'm6 3.5 4.5 4.5L6 12.5',
  back: 'M10 3.5 5.5 8l4.5 4.5'
}

/** A decorative icon; its context must have a text alternative. */
export function Icon ({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d=${PATHS[name]} />
    </svg>`
}
