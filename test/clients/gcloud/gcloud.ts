import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Missing, arrival, program, type Check } from '../check.js'
import { Gcloud } from './command.js'

const PARENT = 'projects/demo/locations/us-central1'
const MEMBER = 'user:ada@example.com'

export const gcloud: Check = async place => {
  if ((await program('gcloud', ['--version'])).code !== 0) {
    throw new Missing('gcloud is not installed: https://cloud.google.com/sdk/docs/install')
  }
  const configuration = join(place.folder, 'gcloud')
  for (const track of [undefined, 'beta'] as const) {
    const gcloud = new Gcloud(place, configuration, ['--location=us-central1'], track)
    const id = track ?? 'ga'
    await queues(gcloud, `mail-${id}`)
    await overrides(gcloud, `target-${id}`)
    await tasks(gcloud, `tasks-${id}`)
    await locations(gcloud)
    await gcloud.everyFlagWasUsed()
  }
  await withoutLocation(new Gcloud(place, configuration, []))
}

async function queues (gcloud: Gcloud, id: string): Promise<void> {
  const name = `${PARENT}/queues/${id}`
  const isBeta = gcloud.track === 'beta'
  const settings = [
    '--max-attempts=10',
    '--max-retry-duration=5s',
    '--min-backoff=1s',
    '--max-backoff=10s',
    '--max-doublings=4',
    '--max-dispatches-per-second=100',
    '--max-concurrent-dispatches=10',
    '--log-sampling-ratio=0.5',
    '--routing-override=service:abc,version:v1'
  ]
  const expected = {
    name,
    rateLimits: { maxDispatchesPerSecond: 100, maxConcurrentDispatches: 10 },
    retryConfig: { maxAttempts: 10, maxRetryDuration: '5s', minBackoff: '1s', maxBackoff: '10s', maxDoublings: 4 },
    stackdriverLoggingConfig: { samplingRatio: 0.5 },
    ...(isBeta
      ? { appEngineHttpQueue: { appEngineRoutingOverride: { service: 'abc', version: 'v1' } } }
      : { appEngineRoutingOverride: { service: 'abc', version: 'v1' } })
  }
  await gcloud.run(['queues', 'create', id, ...settings, ...(isBeta ? ['--type=push'] : [])], { ...expected, state: 'RUNNING' })
  await gcloud.refused(['queues', 'create', id], /already exists/i)
  await gcloud.run(['queues', 'describe', id], expected)
  await gcloud.run(['queues', 'list', '--filter=name:mail', '--page-size=1', '--sort-by=name', '--limit=100'], [{ name }])
  await gcloud.prints(['queues', 'list', '--uri'], new RegExp(`/queues/${id}\\n`))
  await gcloud.run(['queues', 'update', id, '--clear-min-backoff', '--max-attempts=20'], {
    name,
    retryConfig: { maxAttempts: 20, minBackoff: '0.100s', maxBackoff: '10s' },
    rateLimits: { maxDispatchesPerSecond: 100 }
  })
  await gcloud.run(['queues', 'update', id, ...settings, ...(isBeta ? ['--type=push'] : [])], expected)
  await gcloud.run(['queues', 'update', id, ...settings.map(flag => flag.replace(/^--([a-z-]+)=.*/, '--clear-$1'))], {
    name,
    rateLimits: { maxDispatchesPerSecond: 500, maxConcurrentDispatches: 1000 },
    retryConfig: { maxAttempts: 100, minBackoff: '0.100s', maxBackoff: '3600s', maxDoublings: 16 }
  })
  await gcloud.run(['queues', 'pause', id])
  await gcloud.run(['queues', 'describe', id], { state: 'PAUSED' })
  await gcloud.run(['queues', 'resume', id])

  const bindings = [{ role: 'roles/cloudtasks.enqueuer', members: [MEMBER] }]
  await gcloud.run(['queues', 'add-iam-policy-binding', id, `--member=${MEMBER}`, '--role=roles/cloudtasks.enqueuer'], { bindings })
  await gcloud.run(['queues', 'get-iam-policy', id], { bindings })
  await gcloud.prints(
    [
      'queues',
      'get-iam-policy',
      id,
      '--flatten=bindings',
      '--format=value(bindings.role)',
      '--filter=bindings.role:enqueuer',
      '--limit=1',
      '--page-size=1',
      '--sort-by=bindings.role'
    ],
    /roles\/cloudtasks\.enqueuer/
  )
  const policy = join(gcloud.place.folder, 'policy.json')
  writeFileSync(policy, JSON.stringify({ bindings: [{ role: 'roles/viewer', members: [MEMBER] }, ...bindings] }))
  await gcloud.run(['queues', 'set-iam-policy', id, policy], {
    bindings: [{ role: 'roles/viewer' }, { role: 'roles/cloudtasks.enqueuer' }]
  })
  await gcloud.run(['queues', 'remove-iam-policy-binding', id, `--member=${MEMBER}`, '--role=roles/cloudtasks.enqueuer'], {
    bindings: [{ role: 'roles/viewer', members: [MEMBER] }]
  })

  await gcloud.run(['queues', 'purge', id])
  await gcloud.run(['queues', 'delete', id])
  await gcloud.refused(['queues', 'describe', id], /does not exist|not found/i)
  if (isBeta) await kinds(gcloud, id, settings, expected)
}

/** The commands of the beta track for one kind of queue. Cloud Tasks has no pull queues any more. */
async function kinds (gcloud: Gcloud, id: string, settings: readonly string[], expected: object): Promise<void> {
  await gcloud.run(['queues', 'create-app-engine-queue', `${id}-kind`, ...settings], {
    ...expected, name: `${PARENT}/queues/${id}-kind`
  })
  const cleared = settings.map(flag => flag.replace(/^--([a-z-]+)=.*/, '--clear-$1'))
  await gcloud.run(['queues', 'update-app-engine-queue', `${id}-kind`, ...cleared], {})
  await gcloud.run(['queues', 'update-app-engine-queue', `${id}-kind`, ...settings], { ...expected, name: `${PARENT}/queues/${id}-kind` })
  await gcloud.run(['queues', 'delete', `${id}-kind`])
  await gcloud.refused(['queues', 'create-pull-queue', `${id}-pull`, '--max-attempts=10', '--max-retry-duration=5s'], /pull/i)
}

/** HTTP targets of queues, and buffered tasks. */
async function overrides (gcloud: Gcloud, id: string): Promise<void> {
  const { place } = gcloud
  const { hostname, port } = new URL(place.targetUrl)
  const uri = `--http-uri-override=scheme:http,host:${hostname},port:${port},path:/buffered,query:a=b,mode:ALWAYS`
  const request = ['--http-method-override=PUT', '--http-header-override=X-Mine: yes']
  const oidc = ['--http-oidc-service-account-email-override=oidc@demo.iam.gserviceaccount.com', '--http-oidc-token-audience-override=aud']
  const oauth = [
    '--http-oauth-service-account-email-override=oauth@demo.iam.gserviceaccount.com',
    '--http-oauth-token-scope-override=https://www.googleapis.com/auth/cloud-platform'
  ]
  const cleared = (flags: readonly string[]): string[] => flags.map(flag => flag.replace(/^--([a-z-]+)=.*/, '--clear-$1'))
  const target = {
    uriOverride: {
      scheme: 'HTTP',
      host: hostname,
      port,
      pathOverride: { path: '/buffered' },
      queryOverride: { queryParams: 'a=b' },
      uriOverrideEnforceMode: 'ALWAYS'
    },
    httpMethod: 'PUT',
    headerOverrides: [{ header: { key: 'X-Mine', value: 'yes' } }]
  }
  const oidcToken = { serviceAccountEmail: 'oidc@demo.iam.gserviceaccount.com', audience: 'aud' }
  const oauthToken = { serviceAccountEmail: 'oauth@demo.iam.gserviceaccount.com', scope: 'https://www.googleapis.com/auth/cloud-platform' }

  await gcloud.run(['queues', 'create', id, uri, ...request, ...oidc], { httpTarget: { ...target, oidcToken } })
  await gcloud.run(['queues', 'create', `${id}-oauth`, uri, ...oauth], { httpTarget: { oauthToken } })
  await gcloud.run(['queues', 'delete', `${id}-oauth`])
  await gcloud.run(['buffer', '--task-id=kept', `--queue=${id}`], {})
  await arrival(place, '/buffered?a=b kept')
  await gcloud.run(['buffer', `--queue=${id}`], {})
  await gcloud.run(['queues', 'update', id, ...cleared(oidc)], { httpTarget: { httpMethod: 'PUT' } })
  await gcloud.run(['queues', 'update', id, ...oauth], { httpTarget: { ...target, oauthToken } })
  await gcloud.run(['queues', 'update', id, ...oidc], { httpTarget: { ...target, oidcToken } })
  await gcloud.run(['queues', 'update', id, ...oauth], { httpTarget: { ...target, oauthToken } })
  await gcloud.run(['queues', 'update', id, ...cleared(oauth)], { httpTarget: target })
  await gcloud.run(['queues', 'update', id, ...cleared([uri, ...request])], {})
  await gcloud.run(['queues', 'update', id, uri, ...request], { httpTarget: target })
  await gcloud.run(['queues', 'delete', id])
}

async function tasks (gcloud: Gcloud, id: string): Promise<void> {
  const { place } = gcloud
  const { targetUrl } = place
  const queue = `--queue=${id}`
  const name = `${PARENT}/queues/${id}`
  const file = join(place.folder, 'body.json')
  const inAnHour = `--schedule-time=${new Date(Date.now() + 3_600_000).toISOString()}`
  writeFileSync(file, '{"a":1}')
  await gcloud.run(['queues', 'create', id])
  await gcloud.run(['queues', 'pause', id])

  await gcloud.run(
    [
      'create-http-task',
      'web',
      queue,
      `--url=${targetUrl}/web-${id}`,
      '--method=PUT',
      '--header=X-Mine: yes',
      '--body-content={"a":1}',
      '--oidc-service-account-email=a@demo.iam.gserviceaccount.com',
      '--oidc-token-audience=aud'
    ],
    {
      name: `${name}/tasks/web`,
      httpRequest: {
        url: `${targetUrl}/web-${id}`,
        httpMethod: 'PUT',
        headers: { 'X-Mine': 'yes' },
        oidcToken: { serviceAccountEmail: 'a@demo.iam.gserviceaccount.com', audience: 'aud' }
      }
    }
  )
  await gcloud.run(
    [
      'create-http-task',
      'later',
      queue,
      `--url=${targetUrl}/later`,
      inAnHour,
      `--body-file=${file}`,
      '--oauth-service-account-email=a@demo.iam.gserviceaccount.com',
      '--oauth-token-scope=scope'
    ],
    {
      name: `${name}/tasks/later`,
      httpRequest: { oauthToken: { serviceAccountEmail: 'a@demo.iam.gserviceaccount.com', scope: 'scope' } }
    }
  )
  await gcloud.refused(['create-http-task', 'later', queue, `--url=${targetUrl}/later`], /already exists/i)
  await gcloud.run(
    [
      'create-app-engine-task',
      'app',
      queue,
      `--relative-uri=/app-${id}`,
      '--body-content=hello',
      '--method=PUT',
      '--header=X-Mine: yes',
      '--routing=service:abc,version:v1'
    ],
    {
      name: `${name}/tasks/app`,
      appEngineHttpRequest: { relativeUri: `/app-${id}`, httpMethod: 'PUT', appEngineRouting: { service: 'abc', version: 'v1' } }
    }
  )
  await gcloud.run(['create-app-engine-task', 'app-later', queue, `--body-file=${file}`, inAnHour], { name: `${name}/tasks/app-later` })

  await gcloud.run(
    ['list', queue, '--sort-by=name', '--page-size=2'],
    ['app', 'app-later', 'later', 'web'].map(task => ({ name: `${name}/tasks/${task}` }))
  )
  // The filter is gcloud's own, on as many tasks as the limit says, which may be any.
  await gcloud.run(['list', queue, '--filter=name:tasks', '--limit=1'], [{}])
  await gcloud.prints(['list', queue, '--uri'], /\/tasks\/web\n/)
  await gcloud.run(['describe', 'web', queue, '--response-view=full'], {
    httpRequest: { body: Buffer.from('{"a":1}').toString('base64') }
  })
  await gcloud.run(['run', 'web', queue], { name: `${name}/tasks/web` })
  await arrival(place, `/web-${id} web`)
  await gcloud.run(['delete', 'later', queue])
  await gcloud.refused(['describe', 'later', queue], /no longer exists|not found/i)
  await gcloud.run(['queues', 'resume', id])
  await arrival(place, `/app-${id} app`)
  await gcloud.run(['queues', 'purge', id])
  await gcloud.run(['list', queue], [])
  await gcloud.run(['queues', 'delete', id])
}

async function locations (gcloud: Gcloud): Promise<void> {
  await gcloud.run(
    ['locations', 'list', '--filter=locationId:us', '--limit=1', '--page-size=1', '--sort-by=locationId'],
    [{ locationId: 'us-central1' }]
  )
  await gcloud.prints(['locations', 'list', '--uri'], /us-central1/)
  await gcloud.run(['locations', 'describe', 'us-central1'], { locationId: 'us-central1' })
  const kmsKey = `${PARENT}/keyRings/r/cryptoKeys/k`
  await gcloud.run(['cmek-config', 'update', '--kms-key-name=k', '--kms-keyring=r', '--kms-project=demo'], { kmsKey })
  await gcloud.run(['cmek-config', 'describe'], { kmsKey })
  await gcloud.run(['cmek-config', 'update', '--clear-kms-key'], { name: `${PARENT}/cmekConfig` })
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
