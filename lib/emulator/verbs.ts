import type { Service } from './service.js'

/** A method of the service by the name that a proto gives it: `CreateTask` is `createTask`. */
export function verbOf (service: Service, method: string): { key: string, call: ((request: object) => Promise<object>) | undefined } {
  const key = method[0]!.toLowerCase() + method.slice(1)
  const verb = (service as unknown as Readonly<Record<string, unknown>>)[key]
  return { key, call: typeof verb === 'function' ? async request => await (verb.call(service, request) as object) : undefined }
}
