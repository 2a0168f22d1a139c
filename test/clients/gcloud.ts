import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Missing, arrival, program, type Check, type Place } from './check.js'

const PARENT = 'projects/demo/locations/us-central1'

export const gcloud: Check = async place => {
  if ((await program('gcloud', ['--version'])).code !== 0) throw new Missing('gcloud is not installed: https://cloud.google.com/sdk/docs/install')
  const directory = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-gcloud-'))
  try {
    await withLocation(new Gcloud(place, directory, ['--location=us-central1']))
    await withLocation(new Gcloud(place, directory, ['--location=us-central1'], 'beta'))
    await withoutLocation(new Gcloud(place, directory, []))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function withLocation (gcloud: Gcloud): Promise<void> {
  const id = gcloud.track === 'beta' ? 'mail-beta' : 'mail'
  const name = `${PARENT}/queues/${id}`
  const queue = `--queue=${id}`
  const { targetUrl } = gcloud.place
  const appEngineQueue = gcloud.track === 'beta' ? { appEngineHttpQueue: {} } : {}

  await gcloud.run(['queues', 'create', id, '--max-attempts=10', '--max-dispatches-per-second=100', '--min-backoff=1s'], { name, state: 'RUNNING', rateLimits: { maxDispatchesPerSecond: 100 }, retryConfig: { maxAttempts: 10, minBackoff: '1s' } })
  await gcloud.refused(['queues', 'create', id], /already exists/i)
  await gcloud.run(['queues', 'describe', id], { name, state: 'RUNNING', retryConfig: { maxAttempts: 10, maxBackoff: '3600s' }, ...appEngineQueue })
  await gcloud.run(['queues', 'list'], [{ name }])
  await gcloud.run(['queues', 'update', id, '--max-attempts=20', '--clear-min-backoff'], { name, retryConfig: { maxAttempts: 20, minBackoff: '0.100s' }, rateLimits: { maxDispatchesPerSecond: 100 } })
  await gcloud.run(['queues', 'pause', id])
  await gcloud.run(['queues', 'describe', id], { state: 'PAUSED' })
  await gcloud.run(['queues', 'add-iam-policy-binding', id, '--member=user:ada@example.com', '--role=roles/cloudtasks.enqueuer'], { bindings: [{ role: 'roles/cloudtasks.enqueuer', members: ['user:ada@example.com'] }] })
  await gcloud.run(['queues', 'get-iam-policy', id], { bindings: [{ role: 'roles/cloudtasks.enqueuer' }] })

  await gcloud.run(['create-http-task', 'web', queue, `--url=${targetUrl}/web`, '--method=PUT', '--header=X-Mine: yes', '--body-content={"a":1}'], { name: `${name}/tasks/web`, httpRequest: { url: `${targetUrl}/web`, httpMethod: 'PUT', headers: { 'X-Mine': 'yes' } } })
  await gcloud.run(['create-app-engine-task', 'app', queue, '--relative-uri=/app', '--body-content=hello'], { name: `${name}/tasks/app`, appEngineHttpRequest: { relativeUri: '/app' } })
  await gcloud.run(['create-http-task', 'later', queue, `--url=${targetUrl}/later`, `--schedule-time=${new Date(Date.now() + 3_600_000).toISOString()}`], { name: `${name}/tasks/later` })
  await gcloud.refused(['create-http-task', 'later', queue, `--url=${targetUrl}/later`], /already exists/i)
  await gcloud.run(['list', queue, '--sort-by=name'], [{ name: `${name}/tasks/app` }, { name: `${name}/tasks/later` }, { name: `${name}/tasks/web` }])
  await gcloud.run(['describe', 'web', queue, '--response-view=full'], { httpRequest: { body: Buffer.from('{"a":1}').toString('base64') } })
  await gcloud.run(['run', 'web', queue], { name: `${name}/tasks/web` })
  await arrival(gcloud.place, '/web web')
  await gcloud.run(['delete', 'later', queue])
  await gcloud.refused(['describe', 'later', queue], /no longer exists|not found/i)
  await gcloud.run(['queues', 'resume', id])
  await arrival(gcloud.place, '/app app')

  const { host, port } = new URL(targetUrl)
  await gcloud.run(['queues', 'update', id, `--http-uri-override=scheme:http,host:${host.split(':')[0]},port:${port},path:/buffered`], { httpTarget: { uriOverride: { scheme: 'HTTP', port, pathOverride: { path: '/buffered' } } } })
  await gcloud.run(['buffer', '--task-id=kept', queue], {})
  await arrival(gcloud.place, '/buffered kept')
  await gcloud.run(['buffer', queue], {})
  await gcloud.run(['queues', 'pause', id])
  await gcloud.run(['create-http-task', 'purged', queue, `--url=${targetUrl}/purged`], {})
  await gcloud.run(['queues', 'purge', id])
  await gcloud.run(['list', queue], [])
  await gcloud.run(['queues', 'delete', id])
  await gcloud.refused(['queues', 'describe', id], /does not exist|not found/i)
  await gcloud.run(['locations', 'list'], [{ locationId: 'us-central1' }])
  await gcloud.run(['locations', 'describe', 'us-central1'], { locationId: 'us-central1' }, [])
}

/** Then it asks App Engine where the project is. */
async function withoutLocation (gcloud: Gcloud): Promise<void> {
  const { targetUrl } = gcloud.place
  await gcloud.run(['queues', 'create', 'near'], { name: `${PARENT}/queues/near` })
  await gcloud.run(['queues', 'list'], [{ name: `${PARENT}/queues/near` }])
  await gcloud.run(['create-http-task', 'close-by', '--queue=near', `--url=${targetUrl}/near`], {})
  await arrival(gcloud.place, '/near close-by')
  await gcloud.run(['queues', 'delete', 'near'])
}

class Gcloud {
  readonly place: Place
  readonly track: 'beta' | undefined
  readonly #directory: string
  readonly #location: readonly string[]

  constructor (place: Place, directory: string, location: readonly string[], track?: 'beta') {
    this.place = place
    this.track = track
    this.#directory = directory
    this.#location = location
  }

  /** `gcloud tasks ARGS` must succeed and print what has all of `expected` in it. */
  async run (args: readonly string[], expected?: object, location = this.#locationFor(args)): Promise<void> {
    const { code, out, err } = await this.#ask(args, location)
    if (code !== 0) throw new Error(`${this.#line(args, location)}: ${err.trim()}`)
    if (expected !== undefined && !includes(JSON.parse(out), expected)) throw new Error(`${this.#line(args, location)} printed ${out}`)
    this.place.say(this.#line(args, location))
  }

  async refused (args: readonly string[], says: RegExp): Promise<void> {
    const location = this.#locationFor(args)
    const { code, err } = await this.#ask(args, location)
    if (code === 0 || !says.test(err)) throw new Error(`${this.#line(args, location)} was not refused with ${says}: ${err.trim()}`)
    this.place.say(`${this.#line(args, location)} is refused`)
  }

  #locationFor ([group]: readonly string[]): readonly string[] {
    return group === 'locations' ? [] : this.#location
  }

  #line (args: readonly string[], location: readonly string[]): string {
    const shown = args.filter(arg => !arg.startsWith('--') || arg === '--response-view=full').join(' ')
    return `${this.track === undefined ? '' : `${this.track} `}tasks ${shown}${location.length === 0 ? ' (no --location)' : ''}`
  }

  async #ask (args: readonly string[], location: readonly string[]): ReturnType<typeof program> {
    const { url } = this.place.emulator
    return await program('gcloud', [...(this.track === undefined ? [] : [this.track]), 'tasks', ...args, ...location, '--format=json', '--quiet'], {
      env: {
        ...process.env,
        CLOUDSDK_CONFIG: this.#directory,
        CLOUDSDK_CORE_PROJECT: 'demo',
        CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
        CLOUDSDK_AUTH_DISABLE_CREDENTIALS: 'true',
        CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS: `${url}/`,
        CLOUDSDK_API_ENDPOINT_OVERRIDES_APPENGINE: `${url}/`
      }
    })
  }
}

/** Whether all of `part` is in `whole`, at any depth; lists must be of the same length. */
function includes (whole: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null || typeof whole !== 'object' || whole === null) return isDeepStrictEqual(whole, part)
  if (Array.isArray(part) && (!Array.isArray(whole) || whole.length !== part.length)) return false
  return Object.entries(part).every(([key, value]) => includes((whole as Record<string, unknown>)[key], value))
}
