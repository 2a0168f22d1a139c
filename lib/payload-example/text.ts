import { matches } from './fit.js'
import type { Schema } from './schema.js'

/** A text for a schema of type string; undefined where none was found. `variant` asks for another one each. */
export function textFor (schema: Schema, variant = 0): string | undefined {
  const { minLength = 0, maxLength = Infinity, pattern, format } = schema
  const fitting = (text: string) => text.length >= minLength && text.length <= maxLength && (pattern === undefined || matches(pattern, text))
  if (minLength > MAX_LENGTH) return undefined
  const word = 'text'
  const candidates = (function * () {
    if (typeof format === 'string' && Object.hasOwn(FORMATS, format)) {
      yield FORMATS[format]!(variant, minLength)
      if (pattern === undefined) return
    }
    if (typeof pattern === 'string') {
      for (const extra of [0, 1, 2, 3, 5, 8, minLength].map(one => one + variant)) yield fromPattern(pattern, extra, variant)
      for (let extra = 9; extra <= Math.min(minLength, 200); extra++) yield fromPattern(pattern, extra, variant)
    }
    const suffix = variant === 0 ? '' : String(variant)
    const base = (word + suffix).length <= maxLength ? word + suffix : (suffix + word).slice(0, maxLength)
    yield base.padEnd(Math.min(minLength, MAX_LENGTH), 'x')
  })()
  for (const candidate of candidates) if (candidate !== undefined && fitting(candidate)) return candidate
  return undefined
}

/** Longer ones make no example. */
const MAX_LENGTH = 10_000

const day = (variant: number) => String(1 + variant % 28).padStart(2, '0')

/** Of JSON schema, OpenAPI and ajv-formats. */
const FORMATS: Readonly<Record<string, (variant: number, minLength: number) => string>> = {
  email: longEmail,
  'idn-email': longEmail,
  uri: longUrl,
  url: longUrl,
  iri: longUrl,
  'uri-reference': longUrl,
  'iri-reference': longUrl,
  'uri-template': longUrl,
  'date-time': variant => `2026-01-${day(variant)}T12:00:00Z`,
  'iso-date-time': variant => `2026-01-${day(variant)}T12:00:00Z`,
  date: variant => `2026-01-${day(variant)}`,
  time: variant => `12:00:${String(variant % 60).padStart(2, '0')}Z`,
  'iso-time': variant => `12:00:${String(variant % 60).padStart(2, '0')}Z`,
  duration: variant => `P${1 + variant}D`,
  hostname: (variant, minLength) => `www${variant || ''}.example.com`.padEnd(Math.min(minLength, 70), 'm'),
  'idn-hostname': variant => `www${variant || ''}.example.com`,
  ipv4: variant => `192.0.2.${1 + variant % 250}`,
  ipv6: variant => `2001:db8::${(1 + variant % 60_000).toString(16)}`,
  uuid: variant => `123e4567-e89b-42d3-a456-${(0x4266_1417_4000 + variant).toString(16).padStart(12, '0')}`,
  'json-pointer': (variant, minLength) => `/text${variant || ''}`.padEnd(minLength, 'x'),
  'json-pointer-uri-fragment': variant => `#/text${variant || ''}`,
  'relative-json-pointer': variant => `${variant}/text`,
  regex: (variant, minLength) => `^text${variant || ''}`.padEnd(minLength, 'x'),
  byte: variant => Buffer.from(`text${variant || ''}`).toString('base64')
}

function longEmail (variant: number, minLength: number): string {
  // 64 is the longest local part; the domain takes the rest.
  const domain = 'example.com'
  const local = `ada${variant || ''}`.padEnd(Math.min(minLength - domain.length - 1, 64), 'a')
  return `${local}@${`${'x'.repeat(Math.max(0, Math.min(minLength - local.length - domain.length - 2, 60)))}.`.replace(/^\.$/, '')}${domain}`
}

function longUrl (variant: number, minLength: number): string {
  return `https://example.com/${variant || ''}`.padEnd(Math.min(minLength, MAX_LENGTH), 'x')
}

/**
 * The shortest text that a regular expression is likely to match, repetitions made `extra` longer where they may be. Knows
 * what patterns in schemas are made of; undefined for what it does not know, such as back references.
 */
function fromPattern (pattern: string, extra: number, variant: number): string | undefined {
  let at = 0
  try {
    const text = alternatives()
    return at === pattern.length ? text : undefined
  } catch (error) {
    if (error instanceof UnknownPattern) return undefined
    throw error
  }

  function alternatives (): string {
    const found = [sequence()]
    while (pattern[at] === '|') {
      at++
      found.push(sequence())
    }
    return found[variant % found.length]!
  }

  function sequence (): string {
    let text = ''
    while (at < pattern.length && pattern[at] !== '|' && pattern[at] !== ')') {
      const atom = term()
      const [min, max] = quantity()
      text += atom.repeat(Math.min(min + extra, max, MAX_LENGTH / Math.max(1, atom.length)))
    }
    return text
  }

  function term (): string {
    const character = pattern[at++]!
    switch (character) {
      case '^': case '$': return ''
      case '.': return 'x'
      case '[': return fromClass()
      case '(': return fromGroup()
      case '\\': return escaped(pattern[at++] ?? '')
      default: return character
    }
  }

  function fromGroup (): string {
    const [opening] = /^\?(?::|<[A-Za-z]\w*>|[=!]|<[=!])/.exec(pattern.slice(at)) ?? ['']
    at += opening.length
    const text = alternatives()
    if (pattern[at++] !== ')') throw new UnknownPattern()
    return opening === '' || opening === '?:' || /^\?<[A-Za-z]/.test(opening) ? text : ''
  }

  function fromClass (): string {
    const start = at - 1
    if (pattern[at] === '^') at++
    if (pattern[at] === ']') at++
    for (; pattern[at] !== ']'; at++) {
      if (at >= pattern.length) throw new UnknownPattern()
      if (pattern[at] === '\\') at++
    }
    const source = pattern.slice(start, ++at)
    const members = CHARACTERS.filter(character => matches(`^${source}$`, character))
    if (members.length === 0) throw new UnknownPattern()
    return members[variant % members.length]!
  }

  function escaped (character: string): string {
    switch (character) {
      case 'd': return String((1 + variant) % 10)
      case 'w': return CHARACTERS[variant % 26]!
      case 's': return ' '
      case 'D': case 'S': return 'x'
      case 'W': return '-'
      case 'b': case 'B': return ''
      case 't': return '\t'
      case 'n': return '\n'
      case 'r': return '\r'
    }
    if (character === 'p') {
      const [property] = /^\{[^}]*\}/.exec(pattern.slice(at)) ?? ['']
      at += property.length
      const member = CHARACTERS.find(one => matches(`^\\p${property}$`, one))
      if (member !== undefined) return member
    }
    if (character === '' || /[a-zA-Z0-9]/.test(character)) throw new UnknownPattern()
    return character
  }

  function quantity (): [min: number, max: number] {
    const [source, sign, min, comma, max] = /^(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/.exec(pattern.slice(at)) ?? ['']
    at += source.length
    if (source === '') return [1, 1]
    if (sign !== undefined) return { '*': [0, Infinity], '+': [1, Infinity], '?': [0, 1] }[sign] as [number, number]
    return [Number(min), comma === '' ? Number(min) : max === '' ? Infinity : Number(max)]
  }
}

class UnknownPattern extends Error {}

/** From the likeliest in an example to the least likely. */
const CHARACTERS = [...'abcdefghijklmnopqrstuvwxyz', ...'0123456789', ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ', ...'-_. /:,;+@#$%&*!?=~^\'"()[]{}<>|\\`\t\n', 'é', 'ß', 'ж', '中']
