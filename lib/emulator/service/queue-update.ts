import type { HttpTargetMessage, QueueMessage } from '../messages/messages.js'
import { masked } from '../proto/field-mask.js'

/**
 * A queue after UpdateQueue. The two token types of an HTTP target are mutually exclusive, so setting one removes the other. Clearing
 * a token's account removes the token: gcloud clears tokens this way, by the names of their fields.
 * @param before the queue's settings
 * @param paths the update mask; empty for all fields
 */
export function updatedQueue (before: QueueMessage, given: QueueMessage, paths: readonly string[][]): QueueMessage {
  const updated = masked(before, given, paths) as QueueMessage
  const removed = TOKENS.filter(token => clears(given, paths, token) || sets(given, paths, OTHER[token]))
  if (updated.httpTarget === undefined || removed.length === 0) return updated
  const httpTarget = Object.fromEntries(
    Object.entries(updated.httpTarget).filter(([key]) => !removed.includes(key as Token))
  ) as HttpTargetMessage
  return { ...updated, httpTarget }
}

type Token = 'oauthToken' | 'oidcToken'

function clears (given: QueueMessage, paths: readonly string[][], token: Token): boolean {
  const isNamed = paths.some(path => path.join('.') === `httpTarget.${token}.serviceAccountEmail`)
  return isNamed && !given.httpTarget?.[token]?.serviceAccountEmail
}

function sets (given: QueueMessage, paths: readonly string[][], token: Token): boolean {
  const isNamed = paths.some(([first, second]) => first === 'httpTarget' && (second === undefined || second === token))
  return isNamed && given.httpTarget?.[token] !== undefined
}

const TOKENS: readonly Token[] = ['oauthToken', 'oidcToken']
const OTHER: Readonly<Record<Token, Token>> = { oauthToken: 'oidcToken', oidcToken: 'oauthToken' }
