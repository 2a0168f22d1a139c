import { html } from '../htm-preact.js'

/** Of a task or a queue, by the words of the API. */
const STATES = {
  waiting: ['Waiting', 'calm', 'Has not been tried yet'],
  retrying: ['Retrying', 'warn', 'An attempt failed; it will be tried again'],
  running: ['Running', 'busy', 'An attempt is running'],
  done: ['Done', 'good', 'Ended well'],
  dropped: ['Dropped', 'calm', 'The handler gave it up with task.drop'],
  postponed: ['Postponed', 'calm', 'The handler postponed it with task.retryAfter; a copy of it runs later'],
  failed: ['Failed', 'bad', 'All its attempts failed; it will not be tried again'],
  deleted: ['Deleted', 'calm', 'Was deleted or purged before it was done'],
  expired: ['Expired', 'warn', 'Was kept for as long as a queue keeps tasks'],
  RUNNING: ['Running', 'good', 'Its tasks are dispatched as they are due'],
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

/** What an attempt came to, in a word or a number. */
export function resultText (result) {
  if (result === 'deadline') return 'too slow'
  if (result === 'unreachable') return 'unreachable'
  return String(result)
}

export function resultTitle (result) {
  if (result === 'deadline') return 'It did not end before its deadline'
  if (result === 'unreachable') return 'Its target could not be reached'
  return `It answered with HTTP status ${result}`
}
