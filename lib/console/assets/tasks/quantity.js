const number = new Intl.NumberFormat('en')

/** 12345 -> `12,345` */
export function count (value) {
  return number.format(value)
}

/** `1 task`, `2 tasks` */
export function counted (value, noun) {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`
}

/** A human-readable duration in milliseconds: `<1 ms`, `12 ms`, `1.2 s`, `2 min 5 s`, `1 h 3 min`, `2 d 4 h` */
export function duration (ms) {
  if (ms < 1) return '<1 ms'
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9950) return `${(ms / 1000).toFixed(1).replace('.0', '')} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return pair(seconds, 60, 'min', 's')
  if (seconds < 86_400) return pair(Math.round(seconds / 60), 60, 'h', 'min')
  return pair(Math.round(seconds / 3600), 24, 'd', 'h')
}

/** A relative time in one unit: `now`, `12 s ago`, `in 3 min` */
export function distance (at, now) {
  const seconds = Math.round(Math.abs(at - now) / 1000)
  if (seconds < 1) return 'now'
  const [size, unit] = UNITS.find(([size]) => seconds >= size)
  const text = `${count(Math.floor(seconds / size))} ${unit}`
  return at > now ? `in ${text}` : `${text} ago`
}

/** Local date and time to the millisecond. */
export function exactly (at) {
  const date = new Date(at)
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${timeOfDay(at)}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

export function timeOfDay (at) {
  const date = new Date(at)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

export function bytes (value) {
  if (value < 1024) return counted(value, 'byte')
  if (value < 1024 * 1024) return `${(value / 1024).toFixed(1)} KiB`
  return `${(value / 1024 / 1024).toFixed(1)} MiB`
}

const UNITS = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]

function pair (value, size, big, small) {
  const rest = value % size
  return rest === 0 ? `${Math.floor(value / size)} ${big}` : `${Math.floor(value / size)} ${big} ${rest} ${small}`
}

function two (value) {
  return String(value).padStart(2, '0')
}
