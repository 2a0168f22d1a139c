import { get, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import type { JSONWebKeySet } from 'jose'
import { fetchProxy } from '../../options/proxy.js'

/**
 * Requests keys once, without following redirects. http:// is only for localhost and emulators, so it bypasses any proxy that
 * NODE_USE_ENV_PROXY would use.
 */
export async function requestKeys (uri: string, signal: AbortSignal): Promise<JSONWebKeySet> {
  return uri.startsWith('http:') ? await getDirectly(uri, signal) : await fetchKeys(uri, signal)
}

/** The proxy variable that a failed request used or ignored; empty where there is none. */
export function keyRequestHint (uri: string): string {
  if (uri.startsWith('http:')) return ''
  const proxy = fetchProxy(process.env, new URL(uri).hostname)
  if (proxy === undefined) return ''
  return proxy.used
    ? `; the request goes through the proxy in ${proxy.variable}`
    : `; the request ignores the proxy in ${proxy.variable}, which Node.js uses only with NODE_USE_ENV_PROXY=1 ` +
      '(Node.js 22.21, 24 or newer)'
}

async function fetchKeys (uri: string, signal: AbortSignal): Promise<JSONWebKeySet> {
  const response = await fetch(uri, { signal, redirect: 'error', headers: ACCEPT })
  if (response.status !== 200) throw unexpected(response.status)
  return await response.json() as JSONWebKeySet
}

async function getDirectly (uri: string, signal: AbortSignal): Promise<JSONWebKeySet> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    // Without the global agent, which can have a proxy.
    get(uri, { agent: false, signal, headers: ACCEPT }, resolve).on('error', reject)
  })
  if (response.statusCode === 200) return await json(response) as JSONWebKeySet
  response.destroy()
  throw unexpected(response.statusCode)
}

const ACCEPT = { accept: 'application/json' }

function unexpected (status: number | undefined): Error {
  return new Error(`the key server answered ${status}`)
}
