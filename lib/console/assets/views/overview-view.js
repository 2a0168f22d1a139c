import { EmptyState } from '../parts/empty-state.js'
import { html } from '../htm-preact.js'
import { QueueTable } from '../tasks/queue-table.js'
import { address } from '../data/route.js'
import { ServedOnly } from '../tasks/served-only.js'
import { TaskTable } from '../tasks/task-table.js'
import { useTaskPage } from './task-page.js'
import { Timeline } from '../tasks/timeline.js'

/** The state of the queues, and the tasks that need attention. */
export function OverviewView ({ overview }) {
  const { queues, timeline, tasks } = overview
  if (queues === null) {
    return html`
      <h1 class="unseen">Overview</h1>
      <${Timeline} buckets=${timeline} queues=${null} />
      <${ServedOnly} />
      <${FailingTasks} canRun=${tasks !== null} />`
  }
  return html`
    <h1 class="unseen">Overview</h1>
    <${Timeline} buckets=${timeline} queues=${queues} />
    <section class="panel" aria-labelledby="queues-title">
      <div class="panel-head"><h2 id="queues-title">Queues</h2></div>
      ${queues.length === 0
        ? html`<${EmptyState} title="No queues.">
        <p>Create one, or start the emulator with <code>--auto-create-queues</code>.</p>
        <//>`
          : html`<${QueueTable} queues=${queues} />`}
    </section>
    <${FailingTasks} canRun=${tasks !== null} />`
}

/** Retrying and failed tasks. */
function FailingTasks ({ canRun }) {
  const retrying = useTaskPage({ state: 'retrying', limit: SHOWN })
  const failed = useTaskPage({ state: 'failed', limit: SHOWN })
  const error = retrying.error ?? failed.error
  const rows = [...retrying.rows ?? [], ...failed.rows ?? []]
  const loaded = retrying.rows !== undefined && failed.rows !== undefined
  return html`
    <section class="panel" aria-labelledby="trouble-title">
      <div class="panel-head">
        <h2 id="trouble-title">Failing</h2>
        <span class="panel-links"><a href=${address('tasks', { state: 'retrying' })}>Retrying</a>
          <a href=${address('tasks', { state: 'failed' })}>Failed</a></span>
      </div>
      ${
        error !== undefined
          ? html`<${EmptyState} title="The failing tasks could not be loaded" tone="bad"><p>${error.message}</p><//>`
          : !loaded
            ? html`<p class="loading">Loading…</p>`
            : rows.length === 0
              ? html`<${EmptyState} title="No failing tasks.">${canRun
              ? html`<p>
                <a href="#/run">Run a task</a> with a payload of your own.</p>`
                  : null}<//>`
              : html`<${TaskTable} rows=${rows} caption="Failing tasks" />`
      }
    </section>`
}

const SHOWN = 8
