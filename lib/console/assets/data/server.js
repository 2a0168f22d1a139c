/** The server's error response. */
export class RequestError extends Error {
  constructor (status, { code, message } = {}) {
    super(message ?? `The server responded with ${status}`)
    this.name = 'RequestError'
    this.status = status
    this.code = code
  }
}

let token
let renewToken = async () => undefined

/** Sets the token, which is in the overview and required for every write. */
export function useToken (value) {
  token = value
}

/** @param {() => Promise<unknown>} renew reloads the overview */
export function onOldToken (renew) {
  renewToken = renew
}

export async function get (path, query = {}) {
  return await call(`${path}${printQuery(query)}`)
}

/** After a restart the server has another token, so it is renewed once. */
export async function post (path, body) {
  const used = token
  try {
    return await write(path, body)
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 403) throw error
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
    throw new RequestError(0, { message: 'The server cannot be reached. Is it running?' })
  }
  const answer = await response.json().catch(() => undefined)
  if (!response.ok) throw new RequestError(response.status, answer?.error)
  // Such as after a redirect to a login page.
  if (answer === undefined) {
    throw new RequestError(response.status, { message: 'The response is not from the console. Are you still logged in?' })
  }
  return answer
}

function printQuery (query) {
  const entries = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  return entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`
}
