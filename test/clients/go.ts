import { join } from 'node:path'
import { Missing, arrival, prepare, program, steps, type Check } from './check.js'

/** Google's client over gRPC and REST. */
export const go: Check = async place => {
  if ((await program('go', ['version'])).code !== 0) throw new Missing('Go is not installed: https://go.dev/doc/install')
  const file = join(place.folder, 'client')
  await prepare('its modules could not be downloaded, or it does not build', 'go', ['build', '-o', file, '.'], {
    cwd: join(import.meta.dirname, 'go'),
    // Without the flag modules are read-only, and their folder cannot be removed.
    env: {
      ...process.env,
      GOMODCACHE: join(place.downloads, 'go/modules'),
      GOCACHE: join(place.downloads, 'go/builds'),
      GOFLAGS: '-modcacherw -mod=readonly'
    }
  })
  await steps(place, file, [])
  for (const transport of ['grpc', 'rest']) await arrival(place, `/go/${transport} run`)
}
