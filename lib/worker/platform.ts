import type { FastifyBaseLogger } from 'fastify'
import type { Config } from '../options/config.js'
import type { Registry } from '../registry/registry.js'

/** Cloud Run's default for the `--timeout` of a service; it can be raised to 3600. */
const CLOUD_RUN_TIMEOUT_SECONDS = 300

/**
 * Logs on startup on Cloud Run which tasks have a longer deadline than the default request timeout of a service. At level info, because
 * the service's actual timeout is unknown; an attempt that exceeds it is logged as FST_TASKS_DISCONNECTED.
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
    `the dispatch deadline of these tasks is longer than Cloud Run's default request timeout of ${CLOUD_RUN_TIMEOUT_SECONDS} s; ` +
      `unless you have raised it, run 'gcloud run services update ${environment.K_SERVICE} --timeout=${Math.ceil(seconds)}'`
  )
}
