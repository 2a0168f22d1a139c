import { join } from 'node:path'
import { Missing, arrival, program, steps, type Check } from './check.js'

export const go: Check = async place => {
  const directory = { cwd: join(import.meta.dirname, 'go') }
  if ((await program('go', ['version'])).code !== 0) throw new Missing('Go is not installed: https://go.dev/doc/install')
  const modules = await program('go', ['mod', 'download'], directory)
  if (modules.code !== 0) throw new Missing(`its modules could not be downloaded: ${modules.err.trim().split('\n', 1)[0]}`)
  await steps(place, 'go', ['run', '.'], directory)
  for (const transport of ['grpc', 'rest']) await arrival(place, `/go/${transport} run`)
}
