import { AttemptList } from '../tasks/attempt.js'
import { EmptyState } from '../parts/empty-state.js'
import { Confirm } from '../parts/confirm.js'
import { generation, onRows } from '../data/live-state.js'
import { drafts } from '../data/draft.js'
import { Headers } from '../tasks/headers.js'
import { html, useEffect, useState } from '../htm-preact.js'
import { CopyButton, Identifier } from '../parts/identifier.js'
import { withErrorNotice, notify } from '../parts/notice.js'
import { Payload } from '../parts/payload.js'
import { address, go } from '../data/route.js'
import { get, post } from '../data/server.js'
import { counted } from '../tasks/quantity.js'
import { hasEnded, resultText, resultTitle, StateBadge } from '../tasks/state.js'
import { useObservable } from '../data/observable.js'
import { shortId, titleOf } from '../tasks/task-table.js'
import { Time } from '../tasks/time.js'
import { TraceId } from '../tasks/trace-id.js'
import { visible } from '../parts/visible-text.js'

/** The details of a task. */
export function TaskView ({ query, overview }) {
  const { task, error } = useTask(query.name ?? '')
  if (error !== undefined) {
    return html`
      <${EmptyState} title=${error.status === 404 ? 'This task is no longer known' : 'The task could not be loaded'} tone="bad">
        <p>${error.status === 404 ? whyUnknown(overview) : error.message}</p>
        <p><a href=${address('tasks')}>All tasks</a></p>
      <//>`
  }
  if (task === undefined) return html`<p class="loading" role="status">Loading…</p>`
  const queue = overview.queues?.find(({ name }) => name === task.queue)
  return html`
    <nav class="crumbs" aria-label="Where this is"><a href=${address('tasks')}>Tasks</a> <span aria-hidden="true">/</span> <a
      href=${address('tasks', { state: 'pending', queue: task.queue })}><bdi>${visible(shortId(task.queue))}</bdi></a></nav>
    <div class="view-head">
      <div class="task-title">
        <h1><bdi>${titleOf(task)}</bdi></h1>
        <span aria-live="polite"><${StateBadge} state=${task.state} /></span>
      </div>
      <${Actions} task=${task} overview=${overview} />
    </div>
    <${Facts} task=${task} queue=${queue} />
    <div class="task-columns">
      <section aria-labelledby="attempts-title">
        <h2 id="attempts-title">Attempts</h2>
        ${task.attemptList.length === 0
          ? html`<${NoAttempts} task=${task} queue=${queue} />`
          : html`<${AttemptList}
          attempts=${task.attemptList} omitted=${task.omitted} />`}
      </section>
      <div>
        <section aria-labelledby="payload-title">
          <h2 id="payload-title">Payload</h2>
          <${Payload} name=${task.name} payload=${task.payload} kept />
        </section>
        ${
          task.headers === undefined
            ? null
            : html`
            <section aria-labelledby="headers-title">
              <h2 id="headers-title">Headers of the task</h2>
              <${Headers} headers=${task.headers} />
            </section>`
        }
      </div>
    </div>`
}

/** The task, reloaded when it has changed. */
function useTask (name) {
  const turn = useObservable(generation)
  const [state, setState] = useState({})
  useEffect(() => {
    let current = true
    let loading = false
    let again = false
    const load = async () => {
      again = loading
      if (loading) return
      loading = true
      const next = await get('task', { name }).then(task => ({ task }), error => ({ error }))
      loading = false
      if (!current) return
      setState(next)
      if (again) await load()
    }
    const stop = onRows(rows => { if (rows.some(row => row.name === name)) load() })
    load()
    return () => {
      current = false
      stop()
    }
  }, [name, turn])
  return state.task?.name === name || state.error !== undefined ? state : {}
}

/** Explains why a task is unknown. */
function whyUnknown ({ history, queues }) {
  const kept =
    history === 0
      ? 'Ended tasks are not kept.'
      : `The latest ${counted(history, 'ended task')} ${history === 1 ? 'is' : 'are'} kept, fewer if memory is short.`
  if (queues === null) return `This process has not served it since it started, or it is no longer kept. ${kept}`
  return `It has ended and is no longer kept, or it was purged before it ran. ${kept}`
}

function Actions ({ task, overview }) {
  const [asking, setAsking] = useState(false)
  const [busy, setBusy] = useState(false)
  const { name } = task
  const act = action => withErrorNotice(async () => {
    setBusy(true)
    try {
      await action()
    } finally {
      setBusy(false)
    }
  })
  const run = () => act(async () => {
    await post('task/run', { name })
    notify('Running now.')
  })
  const copy = () => act(async () => {
    const row = await post('task/copy', { name })
    notify(`Enqueued again as ${row.id}.`)
    go('task', { name: row.name })
  })
  const remove = () => act(async () => {
    await post('task/delete', { name })
    notify('Deleted.')
  })
  const { tasks: registry, queues } = overview
  const editable = registry?.some(one => one.name === task.task) && task.payload.kind === 'json' && !task.payload.cut
  const edit = () => {
    drafts.set(task.task, task.payload.text)
    go('run', { task: task.task })
  }
  // Cloud Tasks is not called from here.
  const here = queues !== null
  const pending = here && !hasEnded(task.state)
  return html`
    <div class="actions" role="group" aria-label="Task actions">
      ${pending ? html`<button class="button" disabled=${busy || task.state === 'running'} onClick=${run}>Run now</button>` : null}
      ${here ? html`<button class="button" disabled=${busy} onClick=${copy}>Enqueue again</button>` : null}
      ${editable ? html`<button class="button" onClick=${edit}>Edit and run</button>` : null}
      ${
        pending
          ? html`<button class="button danger" disabled=${busy} onClick=${() => {
              setAsking(true)
            }}>Delete…</button>`
          : null
      }
    </div>
    ${
      asking
        ? html`<${Confirm}
          steps=${[{
            title: 'Delete this task?',
            text: 'It will not run. This cannot be undone, and its name cannot be reused for a while.',
            yes: 'Delete it'
          }]} onYes=${remove} onClose=${() => {
            setAsking(false)
          }} />`
        : null
    }`
}

function Facts ({ task, queue }) {
  const { id, method, url, attempts, createdAt, scheduleAt, endedAt, lastResult, trace } = task
  const most = queue?.retryConfig?.maxAttempts
  const fact = (label, value) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`
  return html`
    <dl class="facts panel">
      ${fact('Id', html`<span class="with-copy"><${Identifier} text=${id} /><${CopyButton} text=${id} what="the id" /></span>`)}
      ${fact('Request', html`<code class="request">${method} <bdi>${visible(url)}</bdi></code>`)}
      ${fact('Attempts', `${attempts}${most === undefined ? '' : most === -1 ? ', unlimited' : ` of at most ${most}`}`)}
      ${lastResult === undefined
        ? null
        : fact('Last result', html`<span
        title=${resultTitle(lastResult)}>${resultText(lastResult)}</span>`)}
      ${trace === undefined ? null : fact('Enqueued in trace', html`<${TraceId} trace=${trace} />`)}
      ${createdAt === undefined ? null : fact('Created', html`<${Time} at=${createdAt} />`)}
      ${endedAt !== undefined
        ? fact('Ended', html`<${Time}
        at=${endedAt} />`)
          : scheduleAt === undefined || task.state === 'running' ? null : fact('Due', html`<${Time} at=${scheduleAt} />`)}
    </dl>`
}

function NoAttempts ({ task, queue }) {
  if (hasEnded(task.state)) return html`<${EmptyState} title="It never ran."><//>`
  if (task.attempts > 0) return html`<${EmptyState} title="Its attempts were made before the console was started."><//>`
  if (queue?.state === 'PAUSED') {
    return html`<${EmptyState} title="Waiting: its queue is paused."><p><a href="#/">Resume the queue</a>, or run the task now.</p><//>`
  }
  return html`<${EmptyState} title="No attempt yet."><p>It is due ${task.scheduleAt === undefined
    ? 'now'
    : html`<${Time}
    at=${task.scheduleAt} />`}.</p><//>`
}
