import { Confirm } from '../parts/confirm.js'
import { putQueue } from '../data/live-state.js'
import { html, useState } from '../htm-preact.js'
import { Icon } from '../parts/icon.js'
import { withErrorNotice, notify } from '../parts/notice.js'
import { count, counted, duration } from './quantity.js'
import { address } from '../data/route.js'
import { post } from '../data/server.js'
import { StateBadge } from './state.js'
import { visible } from '../parts/visible-text.js'

export function QueueTable ({ queues }) {
  return html`
    <table class="table queues">
      <caption class="unseen">Queues</caption>
      <thead>
        <tr>
          <th scope="col">Queue</th>
          <th scope="col" class="narrow wide-only">State</th>
          <th scope="col" class="number">Waiting</th>
          <th scope="col" class="number">Running</th>
          <th scope="col" class="wide-only">Rate limit</th>
          <th scope="col" class="wide-only">Retries</th>
          <th scope="col" class="actions-cell"><span class="unseen">Actions</span></th>
        </tr>
      </thead>
      <tbody>${queues.map(queue => html`<${Row} key=${queue.name} queue=${queue} />`)}</tbody>
    </table>`
}

function Row ({ queue }) {
  const { name, id, state, waiting, running, rateLimits, retryConfig } = queue
  const shown = visible(id)
  const tasks = (state, number) =>
    html`<a class=${number === 0 ? 'quiet' : ''} href=${address('tasks', { state, queue: name })}
      aria-label=${`${counted(number, 'task')} ${state} in ${shown}`}>${count(number)}</a>`
  return html`
    <tr>
      <th scope="row" class="queue-cell"><a href=${address('tasks', { state: 'all', queue: name })} title=${visible(name)}>
        <bdi>${shown}</bdi></a> <span class="narrow-only"><${StateBadge} state=${state} /></span></th>
      <td class="narrow wide-only"><${StateBadge} state=${state} /></td>
      <td class="number">${tasks('waiting', waiting)}</td>
      <td class="number">${tasks('running', running)}</td>
      <td class="wide-only">${printLimits(rateLimits)}</td>
      <td class="wide-only">${printRetries(retryConfig)}</td>
      <td class="actions-cell"><${Actions} queue=${queue} /></td>
    </tr>`
}

function Actions ({ queue }) {
  const [asking, setAsking] = useState(false)
  const { name, state, waiting } = queue
  const id = visible(queue.id)
  const paused = state !== 'RUNNING'
  const change = (what, notice) => withErrorNotice(async () => {
    putQueue(await post(`queue/${what}`, { name }))
    notify(notice)
  })
  const toggle = () => paused ? change('resume', `Queue ${id} is resumed.`) : change('pause', `Queue ${id} is paused.`)
  return html`
    <span class="actions">
      <button class="button small" aria-label=${`${paused ? 'Resume' : 'Pause'} queue ${id}`} onClick=${toggle}>
        <${Icon} name=${paused ? 'play' : 'pause'} />${paused ? 'Resume' : 'Pause'}</button>
      <button class="button small danger" aria-label=${`Purge queue ${id}…`} onClick=${() => {
        setAsking(true)
      }}>Purge…</button>
    </span>
    ${
      asking
        ? html`<${Confirm} steps=${purgeSteps(id, waiting)} onYes=${() => change('purge', `Queue ${id} is purged.`)} onClose=${() => {
            setAsking(false)
          }} />`
        : null
    }`
}

function purgeSteps (id, waiting) {
  return [
    {
      title: `Purge queue ${id}?`,
      text: `This deletes all its tasks: ${waiting === 0 ? 'none' : counted(waiting, 'task')} at this moment. ` +
          'Running attempts are not stopped, and not retried.',
      yes: 'Purge it…'
    },
    { title: `Really purge ${id}?`, text: 'This cannot be undone.', yes: 'Yes, delete its tasks' }
  ]
}

function printLimits ({ maxDispatchesPerSecond, maxConcurrentDispatches }) {
  return `${count(maxDispatchesPerSecond)} a second, ${count(maxConcurrentDispatches)} at once`
}

function printRetries ({ maxAttempts, minBackoffSeconds, maxBackoffSeconds }) {
  const attempts = maxAttempts === -1 ? 'unlimited attempts' : counted(maxAttempts, 'attempt')
  return `${attempts}, ${duration(minBackoffSeconds * 1000)} to ${duration(maxBackoffSeconds * 1000)} apart`
}
