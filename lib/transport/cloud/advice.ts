import { MAX_TASK_BYTES } from '../../cloud-tasks/size.js'
import { grpcProxy, tokenProxy } from '../../options/proxy.js'
import type { CloudFault } from './fault.js'
import type { Failure } from '../transport.js'

/** The context of a failed call, for its error message. */
export interface CallContext {
  readonly action: 'create' | 'delete' | 'viewQueue' | 'viewTask' | 'changeQueue'
  readonly project: string | undefined
  readonly location: string
  readonly queue: string
  readonly emulatorHost: string | undefined
  readonly serviceAccountEmail: string | undefined
  readonly tries: number
  /** Undefined for a call that is not retried. */
  readonly budgetMs: number | undefined
  /** Size of the stored task. */
  readonly bytes: () => number
}

/** Converts a failed call to the transport's result, with the problem and how to fix it. */
export function failureOf (fault: CloudFault, context: CallContext): Failure {
  if (isQueueMissing(fault, context)) return { outcome: 'queueNotFound', hint: queueHint(context), cause: fault.error }
  if (fault.code === 'INVALID_ARGUMENT' && /size too large/i.test(fault.details)) {
    return { outcome: 'tooLarge', bytes: context.bytes(), limit: MAX_TASK_BYTES }
  }
  return { outcome: 'failed', problem: problemOf(fault, context), cause: fault.error }
}

/**
 * "Queue does not exist. ..." had the code FAILED_PRECONDITION for years. Deleting a task in a missing queue fails with a plain
 * NOT_FOUND, like deleting a missing task.
 */
function isQueueMissing ({ code, details }: CloudFault, { action }: CallContext): boolean {
  if (code !== 'NOT_FOUND' && code !== 'FAILED_PRECONDITION') return false
  if (/queue (?:does not exist|not found)/i.test(details)) return true
  return code === 'NOT_FOUND' && action === 'create' && !/service ?account/i.test(details)
}

function queueHint ({ queue, project, location, emulatorHost }: CallContext): string {
  const create = `gcloud tasks queues create ${queue} --location=${location} --project=${project ?? 'PROJECT'}`
  return emulatorHost === undefined
    ? `create it with '${create}' (a new queue may take a minute to appear), or check 'queue', 'location' and 'project'`
    : `create it in the emulator at ${emulatorHost} with the name ` +
      `projects/${project ?? 'PROJECT'}/locations/${location}/queues/${queue}`
}

function problemOf (fault: CloudFault, context: CallContext): string {
  switch (fault.code) {
    case 'UNAVAILABLE':
    case 'DEADLINE_EXCEEDED':
    case 'RESOURCE_EXHAUSTED': return transientProblem(fault, context)
    case 'PERMISSION_DENIED': return permissionProblem(fault, context)
    case 'UNAUTHENTICATED':
      return `no valid credentials (UNAUTHENTICATED: ${quote(fault)}); on Google Cloud check that the app's service account ` +
        "exists and is enabled, elsewhere run 'gcloud auth application-default login' or set " +
        'GOOGLE_APPLICATION_CREDENTIALS to a key file' + proxyHint(fault, context)
    case 'NO_PROJECT': return `the credentials have no project (${quote(fault)}); set the option 'project' or GOOGLE_CLOUD_PROJECT`
    case 'NOT_FOUND':
      return /service ?account/i.test(fault.details)
        ? `Cloud Tasks does not know the service account ${context.serviceAccountEmail ?? ''} (NOT_FOUND: ${quote(fault)}); ` +
          'create it, or check ' +
          "'target.serviceAccountEmail' or CLOUD_TASKS_SERVICE_ACCOUNT"
        : `Cloud Tasks answered NOT_FOUND: ${quote(fault)}`
    case 'INVALID_ARGUMENT': return `Cloud Tasks rejected the task (INVALID_ARGUMENT: ${quote(fault)})${adviceOn(fault.details)}`
    default: return `Cloud Tasks answered ${fault.code}: ${quote(fault)}`
  }
}

const TRANSIENT_TEXTS = {
  UNAVAILABLE: 'could not be reached',
  DEADLINE_EXCEEDED: 'did not answer in time',
  RESOURCE_EXHAUSTED: 'rejected the call because a quota is exceeded'
} as const

function transientProblem (fault: CloudFault, context: CallContext): string {
  const { tries, budgetMs } = context
  const repeated = budgetMs === undefined ? '' : `, tried ${tries} times within the ${budgetMs / 1000} s of 'sendTimeoutSeconds'`
  const doubt = fault.mayHaveArrived && budgetMs !== undefined ? '; the call may have taken effect anyway' : ''
  return `${failedStep(fault, context)} (${fault.code}: ${quote(fault)})${repeated}${doubt}${proxyHint(fault, context)}`
}

function failedStep (fault: CloudFault, { emulatorHost }: CallContext): string {
  if (fault.lacksToken) return 'the access token for Cloud Tasks could not be fetched'
  const receiver = emulatorHost === undefined ? 'Cloud Tasks' : `the emulator at ${emulatorHost} (CLOUD_TASKS_EMULATOR_HOST)`
  return `${receiver} ${TRANSIENT_TEXTS[fault.code as keyof typeof TRANSIENT_TEXTS]}`
}

/** None for an emulator, which is called directly, and none for an exceeded quota, which only Cloud Tasks can report. */
function proxyHint (fault: CloudFault, { emulatorHost }: CallContext): string {
  if (emulatorHost !== undefined || fault.code === 'RESOURCE_EXHAUSTED') return ''
  const tokenServer = /https?:\/\/([^/:\s]+)/.exec(fault.details)?.[1]
  const variable = fault.lacksToken ? tokenProxy(process.env, tokenServer) : grpcProxy(process.env, API_HOST)
  return variable === undefined ? '' : `; the request goes through the proxy in ${variable}`
}

const API_HOST = 'cloudtasks.googleapis.com'

const ROLES: Readonly<Record<CallContext['action'], string>> = {
  create: 'roles/cloudtasks.enqueuer',
  delete: 'roles/cloudtasks.taskDeleter',
  viewQueue: 'roles/cloudtasks.viewer',
  viewTask: 'roles/cloudtasks.viewer',
  changeQueue: 'roles/cloudtasks.queueAdmin'
}

function permissionProblem (fault: CloudFault, context: CallContext): string {
  const { action, queue, location, project = 'PROJECT', serviceAccountEmail } = context
  const denied = `(PERMISSION_DENIED: ${quote(fault)})`
  if (/SERVICE_DISABLED|has not been used in project|is disabled/i.test(fault.details)) {
    return `the Cloud Tasks API is disabled in project ${project} ${denied}; ` +
      `run 'gcloud services enable cloudtasks.googleapis.com --project=${project}'`
  }
  if (/organization's policy|VPC ?Service ?Controls/i.test(fault.details)) {
    return `a policy of your organization, such as VPC Service Controls, denies the call ${denied}; ` +
      'ask its administrators to allow cloudtasks.googleapis.com'
  }
  if (/actAs/i.test(fault.details)) {
    return `the app's account may not act as the service account of the target ${denied}; grant it roles/iam.serviceAccountUser: ` +
      `'gcloud iam service-accounts add-iam-policy-binding ${serviceAccountEmail ?? 'ACCOUNT'} ` +
      "--member=serviceAccount:APP_ACCOUNT --role=roles/iam.serviceAccountUser'"
  }
  const role = ROLES[action]
  return `the app's account lacks ${role} on queue ${queue} in ${location}, or 'project' or 'location' is wrong ${denied}; ` +
    `grant it: 'gcloud tasks queues add-iam-policy-binding ${queue} --location=${location} --project=${project} ` +
    `--member=serviceAccount:APP_ACCOUNT --role=${role}'`
}

function adviceOn (details: string): string {
  if (/not a valid location/i.test(details)) return "; set 'location' or CLOUD_TASKS_LOCATION to the region of the queue"
  if (/https:\/\//.test(details) || /\.url\b/i.test(details)) return "; check 'target.url' or CLOUD_TASKS_TARGET_URL"
  if (/service ?account|oidc/i.test(details)) return "; check 'target.serviceAccountEmail' or CLOUD_TASKS_SERVICE_ACCOUNT"
  if (/relative_?uri|app ?engine/i.test(details)) return "; check 'target', 'prefix' or the task's 'path'"
  if (/project/i.test(details)) return "; check 'project' or GOOGLE_CLOUD_PROJECT"
  return ''
}

function quote ({ details }: CloudFault): string {
  const line = details.split('\n', 1)[0]!
  return line.length > 300 ? `${line.slice(0, 300)}...` : line
}
