import { parseTaskName } from './names.js'
import type { AppEngineHttpRequest, AppEngineRouting, HttpRequest, Task } from './task.js'

/** The largest task that production accepts, measured for both target types: 2^20 - 7. The documented 100 KB are not enforced. */
export const MAX_TASK_BYTES = 1_048_569

/** Left free by `enqueue` so that a copy of a task always fits: it has a longer name and an additional header of up to 1 KiB. */
export const COPY_RESERVE_BYTES = 2048

/**
 * Bytes that production counts against `MAX_TASK_BYTES`: the size of the serialized google.cloud.tasks.v2.Task as created, before
 * any attempt. Computed by hand because nothing has to be encoded, which is cheap even for large bodies.
 */
export function storedSize (task: Task): number {
  let size = text(task.name) + timestamp(task.scheduleAt) + timestamp(task.createdAt)
  if (task.dispatchDeadlineMs !== undefined) {
    const ms = task.dispatchDeadlineMs
    size += message(secondsAndNanos(Math.floor(ms / 1000), (ms % 1000) * 1_000_000))
  }
  if (task.httpRequest !== undefined) size += message(http(task.httpRequest))
  if (task.appEngineHttpRequest !== undefined) size += message(appEngine(task.appEngineHttpRequest, task.name))
  return size
}

/**
 * The host of a task's App Engine service: `[version.][service.]PROJECT.REGION.r.appspot.com`. The region's abbreviation
 * has two letters; which ones depends on the project, so without `region` they are `xx`.
 */
export function appEngineHost (routing: AppEngineRouting | undefined, project: string, region: string = 'xx'): string {
  if (routing?.host) return routing.host
  const { instance, version, service } = routing ?? {}
  const parts = [instance, version, service].filter(part => part !== undefined && part !== '')
  return [...parts, project, region, 'r.appspot.com'].join('.')
}

function http (request: HttpRequest): number {
  let size = text(request.url) + METHOD_SIZE + map(request.headers) + bytes(request.body)
  if (request.oauthToken !== undefined) {
    size += message(text(request.oauthToken.serviceAccountEmail) + text(request.oauthToken.scope))
  } else if (request.oidcToken !== undefined) {
    size += message(text(request.oidcToken.serviceAccountEmail) + text(request.oidcToken.audience))
  }
  return size
}

function appEngine (request: AppEngineHttpRequest, name: string): number {
  // Production counts only the host of the routing.
  const host = appEngineHost(request.appEngineRouting, parseTaskName(name)?.project ?? '')
  return METHOD_SIZE + message(text(host)) + text(request.relativeUri) + map(request.headers) + bytes(request.body)
}

function map (entries: Readonly<Record<string, string>> = {}): number {
  let size = 0
  // Unlike other fields, key and value of a map entry are written even when empty.
  for (const key of Object.keys(entries)) size += message(delimited(byteLength(key)) + delimited(byteLength(entries[key]!)))
  return size
}

function text (value: string | undefined): number {
  return value === undefined || value === '' ? 0 : delimited(byteLength(value))
}

function bytes (value: Uint8Array | undefined): number {
  return value === undefined || value.length === 0 ? 0 : delimited(value.length)
}

function timestamp (at: number): number {
  const micros = Math.round(at * 1000)
  return message(secondsAndNanos(Math.floor(micros / 1_000_000), (micros % 1_000_000) * 1000))
}

function secondsAndNanos (seconds: number, nanos: number): number {
  return (seconds === 0 ? 0 : 1 + varint(seconds)) + (nanos === 0 ? 0 : 1 + varint(nanos))
}

function message (size: number): number {
  return delimited(size)
}

/** A length-delimited field of `size` bytes. All field numbers here are below 16, so the key is one byte. */
function delimited (size: number): number {
  return 1 + varint(size) + size
}

function varint (value: number): number {
  let size = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++
  return size
}

function byteLength (value: string): number {
  return Buffer.byteLength(value)
}

/** Key and value of the method, which every stored task has. */
const METHOD_SIZE = 2
