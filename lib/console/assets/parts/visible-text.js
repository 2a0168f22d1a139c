/** Terminal colours. */
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[\d;]*m/g

/** Invisible characters that affect the visible text: controls, directional marks, byte order marks. */
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** Escapes invisible characters in `text`. */
export function visible (text) {
  return String(text)
    .replace(COLOURS, '')
    .replace(/\r\n/g, '\n')
    .replace(UNSEEN, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
