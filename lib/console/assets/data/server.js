/** What the server refused, in its own words. */
export class Refusal extends Error {
  constructor (status, { code, message } = {}) {
    super(message ?? `The server answered ${status}`)
    this.name = 'Refusal'
    this.status = status
    this.code = code
  }
}

let token
let renewToken = async () => undefined

/** Every write carries the token, which the overview brings. */
export function useToken (value) {
  token = value
}

/** @param {() => Promise<unknown>} renew loads the overview again */
export function onOldToken (renew) {
  renewToken = renew
}

export async function get (path, query = {}) {
  return await call(`${path}${printQuery(query)}`)
}

/** A server that was started again has another token: it is asked for once. */
export async function post (path, body) {
  const used = token
  try {
    return await write(path, body)
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 403) throw error
    await renewToken()
    if (used === token) throw error
    return await write(path, body)
  }
}

export function payloadUrl (name) {
  return `api/payload${printQuery({ name })}`
}

function write (path, body) {
  const headers = { 'content-type': 'application/json', 'x-console-token': token }
  return call(path, { method: 'POST', headers, body: JSON.stringify(body) })
}

async function call (path, options) {
  let response
  try {
    response = await fetch(`api/${path}`, options)
  } catch {
    throw new Refusal(0, { message: 'The server cannot be reached. Is it running?' })
  }
  const answer = await response.json().catch(() => undefined)
  if (!response.ok) throw new Refusal(response.status, answer?.error)
  // As after a redirect to a page where one logs in.
  if (answer === undefined) throw new Refusal(response.status, { message: 'What answered is not the console. Are you still logged in?' })
  return answer
}

function printQuery (query) {
  const entries = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  return entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`
}
