import type { FastifyBaseLogger } from 'fastify'
import type { Config } from '../options/config.js'
import type { Registry } from '../registry/registry.js'

/** Cloud Run's default for the `--timeout` of a service; it can be raised to 3600. */
const CLOUD_RUN_TIMEOUT_SECONDS = 300

/**
 * Logs, at boot on Cloud Run, which tasks may take longer than a service's requests may by default. At info, since the environment does
 * not
 * say whether the service has a longer timeout; an attempt that is cut off by a shorter one is logged as FST_TASKS_DISCONNECTED.
 */
export function logRequestTimeout (
  log: FastifyBaseLogger,
  registry: Registry,
  { embedded, target }: Pick<Config, 'embedded' | 'target'>,
  environment: NodeJS.ProcessEnv
): void {
  if (embedded || target.type !== 'http' || !environment.K_SERVICE) return
  const long = [...registry.values()].filter(
    ({ handler, dispatchDeadlineSeconds = 0 }) => handler !== undefined && dispatchDeadlineSeconds > CLOUD_RUN_TIMEOUT_SECONDS
  )
  if (long.length === 0) return
  const seconds = Math.max(...long.map(({ dispatchDeadlineSeconds = 0 }) => dispatchDeadlineSeconds))
  log.info(
    { tasks: long.map(({ name }) => name) },
    `the dispatch deadline of these tasks is longer than the ${CLOUD_RUN_TIMEOUT_SECONDS} s that Cloud Run gives a request by default; ` +
      `unless it has been raised, run 'gcloud run services update ${environment.K_SERVICE} --timeout=${Math.ceil(seconds)}'`
  )
}
