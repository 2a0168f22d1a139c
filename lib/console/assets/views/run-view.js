import { EmptyState } from '../parts/empty-state.js'
import { loadOverview } from '../data/live-state.js'
import { html, useEffect, useState } from '../htm-preact.js'
import { count } from '../tasks/quantity.js'
import { address, go } from '../data/route.js'
import { RunForm } from '../form/run-form.js'
import { visible } from '../parts/visible-text.js'

/** The tasks of the app, and a form to run one. */
export function RunView ({ query, overview }) {
  const { tasks, queues } = overview
  // Messages do not contain the counts of tasks.
  useEffect(() => { loadOverview() }, [query.task])
  if (tasks === null) {
    return html`
      <h1>Run a task</h1>
      <${EmptyState} title="No task registry">
        <p>The emulator knows tasks only as HTTP requests, without name and schema.
          Register the console in your app to run its tasks from a form.</p>
      <//>`
  }
  if (tasks.length === 0) {
    return html`<h1>Run a task</h1><${EmptyState} title="This app defines no tasks.">
      <p>Add one to <code>defineTasks</code>, and restart the app.</p><//>`
  }
  if (query.task === undefined && tasks.length > 1) return html`<${Registry} tasks=${tasks} />`
  const task = tasks.find(({ name }) => name === (query.task ?? tasks[0].name))
  return html`
    <div class="run-view">
      <${Picker} tasks=${tasks} chosen=${task?.name} />
      ${
        task === undefined
          ? html`<${EmptyState} title=${`There is no task '${visible(query.task)}'`} tone="bad"><p><a href=${address('run')}>All tasks</a>
            </p><//>`
          : html`<${RunForm} key=${task.name} task=${task} queues=${queues} />`
      }
    </div>`
}

/** A table of all tasks. */
function Registry ({ tasks }) {
  const [found, filter] = useFilter(tasks)
  return html`
    <div class="view-head"><h1>Run a task</h1>${filter}</div>
    <section class="panel" aria-label="Tasks of this app">
      ${found.length === 0
        ? html`<${EmptyState} title="No matching tasks."><//>`
        : html`
          <table class="table registry">
            <caption class="unseen">Tasks of this app</caption>
            <thead>
              <tr>
                <th scope="col">Task</th>
                <th scope="col" class="wide-only">Path</th>
                <th scope="col" class="wide-only">Queue</th>
                <th scope="col" class="number">Done</th>
                <th scope="col" class="number">Failed attempts</th>
                <th scope="col" class="actions-cell"><span class="unseen">Run</span></th>
              </tr>
            </thead>
            <tbody>${found.map(task => html`<${Row} key=${task.name} task=${task} />`)}</tbody>
          </table>`}
    </section>`
}

function Row ({ task }) {
  const { name, path, method, queue, handler, counts } = task
  const shown = visible(name)
  return html`
    <tr>
      <th scope="row"><a href=${address('run', { task: name })}><bdi>${shown}</bdi>
        </a>${handler
          ? null
          : html` <span class="badge calm"
        title="This process can only enqueue it">no handler here</span>`}</th>
      <td class="wide-only"><code>${method} <bdi>${visible(path)}</bdi></code></td>
      <td class="wide-only"><bdi>${visible(queue)}</bdi></td>
      <td class="number">${count(counts.done + counts.dropped + counts.postponed)}</td>
      <td class="number ${counts.retry > 0 ? 'bad-number' : ''}"
        title=${`${count(counts.retry)} failed attempts, ${count(counts.exhausted)} exhausted`}>${count(counts.retry)}</td>
      <td class="actions-cell"><a class="button small" href=${address('run', { task: name })} aria-label=${`Run ${shown}`}>Run…</a></td>
    </tr>`
}

function Picker ({ tasks, chosen }) {
  const [found, filter] = useFilter(tasks)
  return html`
    <nav class="picker-list" aria-label="Tasks of this app">
      <select class="narrow-only" aria-label="Task" onChange=${event => {
        go('run', { task: event.target.value })
      }}>
        ${chosen === undefined ? html`<option selected disabled>choose…</option>` : null}
        ${tasks.map(({ name }) => html`<option key=${name} value=${name} selected=${name === chosen}>${visible(name)}</option>`)}
      </select>
      <div class="not-narrow">
        ${filter}
        <ul>${found.map(({ name }) => html`<li key=${name}><a href=${address('run', { task: name })}
          aria-current=${name === chosen ? 'page' : undefined} title=${visible(name)}><bdi>${visible(name)}</bdi></a></li>`)}</ul>
        ${found.length === 0 ? html`<p class="quiet">No matching tasks.</p>` : null}
      </div>
    </nav>`
}

/** Shown only for many tasks. */
function useFilter (tasks) {
  const [text, setText] = useState('')
  const found = tasks.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()))
  const filter =
    tasks.length < 8
      ? null
      : html`<input id="task-filter" class="filter" type="search" placeholder="Search tasks" aria-label="Search tasks" value=${text}
        onInput=${event => {
          setText(event.target.value)
        }} />`
  return [found, filter]
}
