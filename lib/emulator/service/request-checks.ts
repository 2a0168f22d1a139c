import { parseLocationName } from '../../cloud-tasks/names.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { View } from '../messages/messages.js'
import type { PageFields } from './page-token.js'

export function checkParent (parent: string): void {
  if (parseLocationName(parent) === undefined) throw statusErrors.locationName()
  checkLocation(parent)
}

/** Any well-formed location is valid, as there is no complete list, except `-`, which is a wildcard in other services. */
export function checkLocation (name: string): void {
  const location = LOCATION.exec(name)?.[1]
  if (location === '-') throw statusErrors.unknownLocation(location)
}

/** Throws INVALID_ARGUMENT. */
export function checkPage ({ pageSize, pageToken }: PageFields): PageFields {
  if (pageSize !== undefined && pageSize < 0) throw statusErrors.negative('pageSize')
  return { ...(pageSize === undefined ? undefined : { pageSize }), ...(pageToken === undefined ? undefined : { pageToken }) }
}

export function readView (view: string | number | undefined): View {
  if (view === undefined || view === 'VIEW_UNSPECIFIED') return 'BASIC'
  if (view !== 'BASIC' && view !== 'FULL') throw statusErrors.unknownEnum('responseView', view)
  return view
}

const LOCATION = /^projects\/[^/]+\/locations\/([^/]*)/
