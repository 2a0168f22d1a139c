import { html } from '../htm-preact.js'

/** Label, tone and description of the states of tasks and queues. */
const STATES = {
  waiting: ['Waiting', 'calm', 'No attempt yet'],
  retrying: ['Retrying', 'warn', 'An attempt failed; it will be retried'],
  running: ['Running', 'busy', 'An attempt is running'],
  done: ['Done', 'good', 'Succeeded'],
  dropped: ['Dropped', 'calm', 'The handler dropped it with task.drop'],
  postponed: ['Postponed', 'calm', 'The handler postponed it with task.retryAfter; a copy runs later'],
  failed: ['Failed', 'bad', 'All attempts failed; it will not be retried'],
  deleted: ['Deleted', 'calm', 'Deleted or purged before it was done'],
  expired: ['Expired', 'warn', 'Exceeded the maximum age of a task'],
  RUNNING: ['Running', 'good', 'Its tasks are dispatched when they are due'],
  PAUSED: ['Paused', 'warn', 'Its tasks wait until it is resumed'],
  DISABLED: ['Disabled', 'warn', 'Its tasks wait until it is enabled']
}

export function StateBadge ({ state }) {
  const [label, tone, title] = STATES[state] ?? [state, 'calm', undefined]
  return html`<span class="badge ${tone}" title=${title}>${label}</span>`
}

export function hasEnded (state) {
  return !['waiting', 'retrying', 'running'].includes(state)
}

/** The result of an attempt in short. */
export function resultText (result) {
  if (result === 'deadline') return 'timeout'
  if (result === 'unreachable') return 'unreachable'
  return String(result)
}

export function resultTitle (result) {
  if (result === 'deadline') return 'Exceeded its deadline'
  if (result === 'unreachable') return 'The target could not be reached'
  return `HTTP status ${result}`
}
