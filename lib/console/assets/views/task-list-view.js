import { EmptyState } from '../parts/empty-state.js'
import { html, useState } from '../htm-preact.js'
import { withErrorNotice } from '../parts/notice.js'
import { address, go } from '../data/route.js'
import { ServedOnly } from '../tasks/served-only.js'
import { shortId, TaskTable } from '../tasks/task-table.js'
import { useTaskPage } from './task-page.js'
import { visible } from '../parts/visible-text.js'

const PENDING = [['pending', 'All pending'], ['waiting', 'Waiting'], ['retrying', 'Retrying'], ['running', 'Running']]
const ENDED = [
  ['ended', 'All ended'],
  ['done', 'Done'],
  ['failed', 'Failed'],
  ['dropped', 'Dropped'],
  ['postponed', 'Postponed'],
  ['deleted', 'Deleted'],
  ['expired', 'Expired']
]

/** Tasks by state and queue. */
export function TaskListView ({ query, overview }) {
  const { queue, page } = query
  const state = known(query.state)
  const { queues } = overview
  return html`
    <div class="view-head">
      <h1>Tasks</h1>
      ${
        queues === null
          ? null
          : html`<label class="picker">Queue <select onChange=${event => {
              go('tasks', { state, queue: event.target.value })
            }}>
        <option value="" selected=${queue === undefined}>All queues</option>
        ${queues.map(({ name, id }) => html`<option key=${name} value=${name} selected=${queue === name}>${visible(id)}</option>`)}
      </select></label>`
      }
    </div>
    ${queues === null ? html`<${ServedOnly} />` : null}
    <nav class="filters" aria-label="Tasks by state">
      <${Filters} states=${[['all', 'Latest']]} state=${state} queue=${queue} />
      <${Filters} states=${queues === null ? PENDING.filter(([name]) => name !== 'waiting') : PENDING} state=${state} queue=${queue} />
      <${Filters} states=${queues === null ? ENDED.filter(([name]) => name !== 'deleted' && name !== 'expired') : ENDED} state=${state}
        queue=${queue} />
    </nav>
    ${
      state === 'all'
        ? html`<${Latest} queue=${queue} canRun=${overview.tasks !== null} />`
        : html`<${List} key=${`${state} ${queue} ${page}`} state=${state} queue=${queue} pageToken=${page} title=${label(state)} />`
    }`
}

function Filters ({ states, state, queue }) {
  return html`<span class="filter-group">${states.map(([name, label]) => html`<a key=${name}
    href=${address('tasks', { state: name, queue })} aria-current=${name === state ? 'page' : undefined}>${label}</a>`)}</span>`
}

/** Pending and ended tasks together, because a new task may end within milliseconds. */
function Latest ({ queue, canRun }) {
  const hint = canRun ? html`<p><a href="#/run">Run a task</a> to see one here.</p>` : null
  return html`
    <section class="panel" aria-labelledby="pending-title">
      <div class="panel-head"><h2 id="pending-title">Pending</h2><a href=${address('tasks', { state: 'pending', queue })}>All pending</a>
        </div>
      <${List} state="pending" queue=${queue} limit=${12} title="Pending" bare />
    </section>
    <section class="panel" aria-labelledby="ended-title">
      <div class="panel-head"><h2 id="ended-title">Ended</h2><a href=${address('tasks', { state: 'ended', queue })}>All ended</a></div>
      <${List} state="ended" queue=${queue} limit=${25} title="Ended" bare hint=${hint} />
    </section>`
}

function List ({ state, queue, pageToken, limit, title, bare = false, hint }) {
  const [held, hold] = useHold()
  const { rows, next, error, fresh, findNext } = useTaskPage({ state, queue, pageToken, limit }, held)
  if (error !== undefined) return html`<${EmptyState} title="The tasks could not be loaded" tone="bad"><p>${error.message}</p><//>`
  if (rows === undefined) return html`<p class="loading" role="status">Loading…</p>`
  const turn = () => withErrorNotice(async () => {
    const token = await findNext()
    if (token !== undefined) go('tasks', { state, queue, page: token })
  })
  const table = html`
    <div class="table-hold" ...${hold}>
      ${fresh > 0
        ? html`<p class="fresh"
        role="status">${fresh} more since then, shown when pointer and focus leave the list.</p>`
          : null}
      ${
        rows.length === 0
          ? html`<${EmptyState} ...${emptiness(state, queue, next)}>${hint}<//>`
          : html`<${TaskTable} rows=${rows} queues=${queue === undefined} caption=${`${title} tasks`} />`
      }
    </div>`
  if (bare) return table
  return html`
    <section class="panel" aria-label=${`${title} tasks`}>${table}</section>
    <div class="pager">
      ${pageToken === undefined ? null : html`<a class="button" href=${address('tasks', { state, queue })}>First page</a>`}
      ${next === undefined
        ? null
        : html`<button class="button"
        onClick=${turn}>${rows.length === 0 ? 'Continue' : 'Next page'}</button>`}
    </div>`
}

/** Whether the pointer or the focus is in the list, and event handlers that track it. */
function useHold () {
  const [held, setHeld] = useState({ pointer: false, focus: false })
  const change = part => { setHeld(held => ({ ...held, ...part })) }
  return [held.pointer || held.focus, {
    onMouseEnter: () => { change({ pointer: true }) },
    onMouseLeave: () => { change({ pointer: false }) },
    onFocusIn: () => { change({ focus: true }) },
    onFocusOut: () => { change({ focus: false }) }
  }]
}

function emptiness (state, queue, next) {
  if (next !== undefined) return { title: 'None among the tasks examined so far.' }
  const where = queue === undefined ? '' : ` in queue ${visible(shortId(queue))}`
  return { title: `${EMPTY[state]}${where}.` }
}

const EMPTY = {
  pending: 'No task is pending',
  waiting: 'No task is waiting',
  retrying: 'No task is being retried',
  running: 'No task is running at this moment',
  ended: 'No task has ended since the server started',
  done: 'No task is done yet',
  dropped: 'No task was dropped',
  postponed: 'No task was postponed',
  failed: 'No task has failed',
  deleted: 'No task was deleted',
  expired: 'No task has expired'
}

function known (state) {
  return EMPTY[state] === undefined ? 'all' : state
}

function label (state) {
  return [...PENDING, ...ENDED].find(([name]) => name === state)[1]
}
