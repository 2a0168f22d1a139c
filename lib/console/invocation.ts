import type { FastifyBaseLogger } from 'fastify'
import { isPlainObject } from '../checks.js'
import { lookUp } from '../enqueue.js'
import type { EnqueueOptions } from '../enqueue-options.js'
import type { PluginHandle } from '../plugin-handle.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { ValidationFault } from '../registry/validation.js'
import { explain } from '../server-error.js'
import type { Enqueued, FieldError, RunReport, Validation } from './api/api.js'
import { queueNamer } from './history/attempt-feed.js'
import { errorInfo } from './history/error-info.js'
import { LogLines } from './history/log-lines.js'
import { teeLog } from './history/log-tee.js'
import { cut } from './history/text.js'

/** Validates `text` like the task's route. */
export async function validate (app: PluginHandle, name: string, text: string): Promise<Validation> {
  const read = await readPayload(app, lookUp(app.registry, name), text)
  return read.errors === undefined ? { ok: true, errors: [] } : { ok: false, errors: read.errors }
}

/** Runs the handler once, like `app.tasks.run`. */
export async function run (app: PluginHandle, name: string, text: string): Promise<RunReport> {
  const task = lookUp(app.registry, name)
  const { clock } = app
  const startedAt = clock.monotonic()
  const lines = new LogLines(clock)
  const read = await readPayload(app, task, text)
  if (read.errors !== undefined) return { outcome: 'invalid', durationMs: clock.monotonic() - startedAt, faults: read.errors, logs: [] }

  const log: FastifyBaseLogger = teeLog(app.app.log, clock, line => { lines.add(line) })
  const result = await app.run(task, read.value, log)
  const report = { durationMs: clock.monotonic() - startedAt, logs: lines.lines() }
  switch (result.result) {
    case 'done': return { outcome: 'done', ...report, ...printed(result.value) }
    case 'dropped': return { outcome: 'dropped', ...report, dropReason: result.reason }
    case 'postponed': {
      const { until, reason } = result
      return { outcome: 'postponed', ...report, postponedUntil: until, ...(reason === undefined ? undefined : { postponeReason: reason }) }
    }
    default: return { outcome: 'failed', ...report, error: errorInfo(result.error) }
  }
}

/** @throws as `app.enqueue`, and SyntaxError */
export async function enqueue (app: PluginHandle, name: string, text: string, options: EnqueueOptions): Promise<Enqueued> {
  const payload: unknown = JSON.parse(text)
  // Any name, because `enqueue` is typed by the app's registered tasks.
  const { id, queue, scheduleTime, duplicate } = await app.app.enqueue(name as never, payload as never, options)
  const fullName = queueNamer(app)(queue)
  return { id, name: `${fullName}/tasks/${id}`, queue: fullName, scheduleAt: scheduleTime.getTime(), duplicate }
}

type Read =
  | { readonly errors?: undefined, readonly value: unknown }
  | { readonly errors: readonly FieldError[] }

async function readPayload (app: PluginHandle, task: RegisteredTask, text: string): Promise<Read> {
  try {
    JSON.parse(text)
  } catch (error) {
    return {
      errors: [{
        path: '',
        message: text.trim() === '' ? 'The payload is empty' : `The payload is not valid JSON: ${(error as Error).message}`
      }]
    }
  }
  let examined: Awaited<ReturnType<PluginHandle['payloads']['examine']>>
  try {
    examined = await app.payloads.examine(task, text)
  } catch (error) {
    return { errors: [{ path: '', message: explain(error as Error) }] }
  }
  if (examined.faults === undefined) return { value: examined.value }
  if (examined.faults.length > 0) return { errors: examined.faults.map(faultOf) }
  const { cause } = examined
  return { errors: [{ path: '', message: cause instanceof Error ? cut(cause.message, 4096) : 'The payload does not match its schema' }] }
}

/** Refers to the missing or additional field itself, not to the object that contains it. */
function faultOf ({ instancePath = '', message = 'does not match its schema', params }: ValidationFault): FieldError {
  const { missingProperty, additionalProperty, allowedValues } = params ?? {}
  const key = missingProperty ?? additionalProperty
  const path = typeof key === 'string' ? `${instancePath}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}` : instancePath
  const allowed = Array.isArray(allowedValues) ? `: ${allowedValues.map(value => JSON.stringify(value)).join(', ')}` : ''
  return { path: cut(path, 4096), message: cut(message + allowed, 4096) }
}

/** A handler's return value as JSON text, or a description if it has none. */
function printed (value: unknown): { readonly value?: string } {
  if (value === undefined) return {}
  try {
    const text = JSON.stringify(value, (_key, one: unknown) => typeof one === 'bigint' ? String(one) : one, 2)
    return text === undefined ? { value: JSON.stringify(`[${typeof value}]`) } : { value: cut(text, MAX_VALUE) }
  } catch (error) {
    return {
      value: JSON.stringify(
        `[${isPlainObject(value) ? 'object' : typeof value} without a JSON representation: ${(error as Error).message.split('\n', 1)[0]}]`
      )
    }
  }
}

const MAX_VALUE = 64 * 1024
