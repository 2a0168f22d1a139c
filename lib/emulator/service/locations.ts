import { isProjectId, parseLocationName } from '../../cloud-tasks/names.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { Engine } from '../../engine/engine.js'
import type { Predicate } from '../proto/filter.js'
import { decodeToken, encodeToken, type PageFields } from './page-token.js'

/** google.cloud.location.Location */
export interface LocationMessage {
  readonly name: string
  readonly locationId: string
  readonly displayName: string
  readonly labels: Readonly<Record<string, string>>
}

/**
 * Locations of a project. Any well-formed id is valid, so there is no complete list: locations with queues are listed, or
 * `us-central1` while there are no queues.
 */
export class Locations {
  readonly #engine: Engine
  readonly #now: () => number

  constructor (engine: Engine, now: () => number) {
    this.#engine = engine
    this.#now = now
  }

  get (name: string): LocationMessage {
    const parsed = parseLocationName(name)
    if (parsed === undefined) throw statusErrors.locationName()
    if (parsed.location === '-') throw statusErrors.unknownLocation(parsed.location)
    return locationMessage(parsed.project, parsed.location)
  }

  list (
    name: string,
    filter: string,
    matches: Predicate | undefined,
    { pageSize = 0, pageToken = '' }: PageFields
  ): { locations: LocationMessage[], nextPageToken?: string } {
    const project = projectOf(name)
    if (pageSize < 0) throw statusErrors.negative('pageSize')
    const after = decodeToken(pageToken, `${name} ${filter}`, this.#now())
    const found = this.#ids(project)
      .filter(id => id > after)
      .map(id => locationMessage(project, id))
      .filter(location => matches?.(location) !== false)
    const size = pageSize === 0 ? found.length : pageSize
    const locations = found.slice(0, size)
    return found.length > size
      ? { locations, nextPageToken: encodeToken(locations.at(-1)!.locationId, `${name} ${filter}`, this.#now()) }
      : { locations }
  }

  /** App Engine's Application, from which gcloud reads the location when it is called without one. */
  application (project: string): object {
    if (!isProjectId(project)) throw statusErrors.locationName()
    const [locationId] = this.#ids(project)
    return { name: `apps/${project}`, id: project, locationId, servingStatus: 'SERVING' }
  }

  #ids (project: string): string[] {
    const prefix = `projects/${project}/locations/`
    const ids = this.#engine
      .locations()
      .filter(name => name.startsWith(prefix))
      .map(name => name.slice(prefix.length))
    return ids.length === 0 ? [DEFAULT_LOCATION] : ids
  }
}

function projectOf (name: string): string {
  const [collection, project = '', ...rest] = name.split('/')
  if (collection !== 'projects' || !isProjectId(project) || rest.length > 0) throw statusErrors.locationName()
  return project
}

function locationMessage (project: string, id: string): LocationMessage {
  return {
    name: `projects/${project}/locations/${id}`,
    locationId: id,
    displayName: id,
    // gcloud reads the region from the first label.
    labels: { 'cloud.googleapis.com/region': id }
  }
}

const DEFAULT_LOCATION = 'us-central1'
