import { randomBytes } from 'node:crypto'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { Engine } from '../../engine/engine.js'
import { masked } from '../proto/field-mask.js'

/** google.iam.v1.Policy */
export interface PolicyMessage {
  readonly version?: number
  readonly bindings?: readonly object[]
  readonly auditConfigs?: readonly object[]
  readonly etag?: Uint8Array
}

/** IAM policies of queues, stored as they were set. They are not enforced: every caller may do everything. */
export class Iam {
  readonly #engine: Engine

  constructor (engine: Engine) {
    this.#engine = engine
  }

  get (resource: string): PolicyMessage {
    return readKept(this.#engine.getQueue(resource).policy)
  }

  /** Throws ABORTED when the policy has changed since the caller read it. */
  async set (resource: string, policy: PolicyMessage, paths: readonly string[][]): Promise<PolicyMessage> {
    const { policy: kept } = await this.#engine.setQueuePolicy(resource, before => {
      const current = readKept(before)
      if (policy.etag !== undefined && policy.etag.length > 0 && !Buffer.from(policy.etag).equals(current.etag!)) {
        throw statusErrors.concurrentPolicyChange()
      }
      const { etag, ...next } = masked(current, policy, paths) as PolicyMessage
      return { ...next, etag: randomBytes(6).toString('base64') }
    })
    return readKept(kept)
  }

  /** Returns all permissions, or none where the resource does not exist, as in production. */
  test (resource: string, permissions: readonly string[]): { permissions: readonly string[] } {
    for (const permission of permissions) {
      if (!PERMISSION.test(permission)) throw statusErrors.permission(permission.slice(0, MAX_ECHO))
    }
    return { permissions: this.#engine.findQueue(resource) === undefined ? [] : permissions }
  }
}

/** A queue without a policy has an empty one, with the etag that production returns for it. */
function readKept (kept: unknown): PolicyMessage {
  const { etag, ...policy } = (kept ?? { etag: 'ACAB' }) as PolicyMessage & { etag: string }
  return { ...policy, etag: Buffer.from(etag, 'base64') }
}

const PERMISSION = /^[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)+$/
const MAX_ECHO = 100
