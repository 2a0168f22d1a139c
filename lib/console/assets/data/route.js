import { Observable } from './observable.js'

/** The current location: `{ view, query }` of `#/view?query`. */
export const route = new Observable(parse(location.hash))

addEventListener('hashchange', () => { route.set(parse(location.hash)) })

/** A URL within the page. Undefined and empty parameters are left out. */
export function address (view, query = {}) {
  const entries = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const search = entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`
  return `#/${view}${search}`
}

export function go (view, query) {
  location.hash = address(view, query)
}

function parse (hash) {
  const [path, search = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  return { view: path === '' ? 'overview' : path, query: Object.fromEntries(new URLSearchParams(search)) }
}
