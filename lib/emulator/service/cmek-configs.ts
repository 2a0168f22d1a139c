import { parseLocationName } from '../../cloud-tasks/names.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import { masked } from '../proto/field-mask.js'
import { checkLocation } from './request-checks.js'

/** google.cloud.tasks.v2.CmekConfig: the customer-managed key of a location. */
export interface CmekConfigMessage {
  readonly name?: string
  readonly kmsKey?: string
}

/** Encryption keys of locations, in memory. They are returned as they were set; nothing is encrypted with them. */
export class CmekConfigs {
  readonly #kmsKeys = new Map<string, string>()

  get (name: string): CmekConfigMessage {
    checkName(name)
    const kmsKey = this.#kmsKeys.get(name)
    return kmsKey === undefined ? { name } : { name, kmsKey }
  }

  /** An empty key removes the location's key. */
  update (config: CmekConfigMessage, paths: readonly string[][]): CmekConfigMessage {
    const { name = '' } = config
    const { kmsKey = '' } = masked(this.get(name), config, paths) as CmekConfigMessage
    if (kmsKey !== '' && !KMS_KEY.test(kmsKey)) throw statusErrors.kmsKey(kmsKey)
    if (kmsKey === '') this.#kmsKeys.delete(name)
    else this.#kmsKeys.set(name, kmsKey)
    return this.get(name)
  }
}

function checkName (name: string): void {
  const location = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : ''
  if (parseLocationName(location) === undefined) throw statusErrors.locationName()
  checkLocation(location)
}

const SUFFIX = '/cmekConfig'
const KMS_KEY = /^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+$/
