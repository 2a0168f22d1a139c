import { html } from '../htm-preact.js'
import { Identifier } from '../parts/identifier.js'
import { address } from '../data/route.js'
import { resultText, resultTitle, StateBadge } from './state.js'
import { Time } from './time.js'
import { visible } from '../parts/visible-text.js'

/** A table of tasks. @param queues whether to show their queues */
export function TaskTable ({ rows, caption, queues = true }) {
  return html`
    <table class="table tasks">
      <caption class="unseen">${caption}</caption>
      <thead>
        <tr>
          <th scope="col" class="narrow">State</th>
          <th scope="col">Task</th>
          ${queues ? html`<th scope="col" class="wide-only">Queue</th>` : null}
          <th scope="col" class="number">Attempts</th>
          <th scope="col" class="wide-only">Last result</th>
          <th scope="col" class="when">When</th>
        </tr>
      </thead>
      <tbody>${rows.map(row => html`<${Row} key=${row.name} row=${row} queues=${queues} />`)}</tbody>
    </table>`
}

function Row ({ row, queues }) {
  const { name, id, queue, state, attempts, lastResult } = row
  return html`
    <tr>
      <td class="narrow"><${StateBadge} state=${state} /></td>
      <th scope="row" class="task-cell"><a class="task-link" href=${address('task', { name })}>
        <bdi class="task-name">${titleOf(row)}</bdi> <span class="task-id"><${Identifier} text=${id} /></span></a></th>
      ${queues ? html`<td class="wide-only"><bdi>${visible(shortId(queue))}</bdi></td>` : null}
      <td class="number">${attempts}</td>
      <td class="wide-only">${lastResult === undefined
        ? html`<span class="quiet">none yet</span>`
        : html`<span
        title=${resultTitle(lastResult)}>${resultText(lastResult)}</span>`}</td>
      <td class="when"><${When} row=${row} /></td>
    </tr>`
}

/** The most relevant time of a task's state. */
function When ({ row }) {
  const { state, startedAt, createdAt, scheduleAt, endedAt } = row
  if (endedAt !== undefined) return html`<span class="when-word">ended </span><${Time} at=${endedAt} />`
  if ((state === 'running' || scheduleAt === undefined) && startedAt !== undefined) {
    return html`<span class="when-word">${state === 'running' ? 'started' : 'attempted'} </span><${Time} at=${startedAt} />`
  }
  if (scheduleAt === undefined) return html`<span class="when-word">created </span><${Time} at=${createdAt} />`
  return html`<span class="when-word">due </span><${Time} at=${scheduleAt} />`
}

/** Name in the registry, or method and URL. */
export function titleOf ({ task, method, url }) {
  return visible(task ?? `${method} ${url}`)
}

export function shortId (name) {
  return name.slice(name.lastIndexOf('/') + 1)
}
