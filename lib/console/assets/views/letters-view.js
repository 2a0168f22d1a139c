import { generation } from '../data/live-state.js'
import { AGES, changeLetters, findLetters, letterFilter } from '../data/letters.js'
import { useObservable } from '../data/observable.js'
import { address, go } from '../data/route.js'
import { get } from '../data/server.js'
import { html, useEffect, useState } from '../htm-preact.js'
import { Confirm } from '../parts/confirm.js'
import { EmptyState } from '../parts/empty-state.js'
import { notify, withErrorNotice } from '../parts/notice.js'
import { visible } from '../parts/visible-text.js'
import { LetterTable } from '../tasks/letter-table.js'
import { count, counted } from '../tasks/quantity.js'

/** Dead letters, to be replayed or discarded. */
export function LettersView ({ query, overview }) {
  const { task, code, age, page } = query
  if (overview.deadLetters === null) {
    return html`
      <h1>Dead letters</h1>
      <${EmptyState} title="Dead letters are not kept."><p>Set the option <code>deadLetterQueue</code> to keep them.</p><//>`
  }
  return html`
    <div class="view-head"><h1>Dead letters</h1><${Filters} query=${query} tasks=${overview.tasks} /></div>
    <${Letters} key=${JSON.stringify([task, code, age, page])} query=${query} overview=${overview} />`
}

function Filters ({ query: { task, code, age }, tasks }) {
  const change = part => { go('letters', { task, code, age, ...part }) }
  const value = event => event.target.value.trim()
  return html`
    <div class="letter-filters">
      <label class="picker">Task <input list="letter-tasks" value=${task ?? ''}
        onChange=${event => { change({ task: value(event) }) }} /></label>
      <datalist id="letter-tasks">${tasks.map(({ name }) => html`<option key=${name} value=${name} />`)}</datalist>
      <label class="picker">Error code <input value=${code ?? ''} onChange=${event => { change({ code: value(event) }) }} /></label>
      <label class="picker">Older than <select onChange=${event => { change({ age: event.target.value }) }}>
        <option value="" selected=${AGES[age] === undefined}>any age</option>
        ${Object.entries(AGES).map(([key, { label }]) => html`<option key=${key} value=${key} selected=${key === age}>${label}</option>`)}
      </select></label>
    </div>`
}

function Letters ({ query, overview }) {
  const { page: pageToken, ...conditions } = query
  const { letters, next, error, reload } = useLetters(conditions, pageToken)
  const [selected, select] = useState(new Set())
  const done = () => {
    select(new Set())
    reload()
  }
  if (error !== undefined) return html`<${EmptyState} title="The dead letters could not be loaded" tone="bad"><p>${error.message}</p><//>`
  if (letters === undefined) return html`<p class="loading" role="status">Loading…</p>`
  const queue = overview.queues?.find(({ id }) => id === overview.deadLetters)?.name
  const hrefOf = id => queue === undefined ? undefined : address('task', { name: `${queue}/tasks/${id}` })
  return html`
    <section class="panel" aria-label="Dead letters">
      <${Actions} ids=${[...selected]} conditions=${conditions} tasks=${overview.tasks} onDone=${done} />
      ${letters.length === 0
        ? html`<${EmptyState} title=${next === undefined ? 'No dead letters.' : 'None among those looked at so far.'} />`
        : html`<${LetterTable} letters=${letters} selected=${selected} onSelect=${select} hrefOf=${hrefOf} />`}
    </section>
    <div class="pager">
      ${pageToken === undefined ? null : html`<a class="button" href=${address('letters', conditions)}>First page</a>`}
      ${next === undefined ? null : html`<a class="button" href=${address('letters', { ...conditions, page: next })}>Next page</a>`}
      <button class="button" onClick=${reload}>Load again</button>
    </div>`
}

/** Replays and discards the selected letters, or all that match the filter, which are counted first. */
function Actions ({ ids, conditions, tasks, onDone }) {
  const [asking, ask] = useState(undefined)
  const [progress, setProgress] = useState(undefined)
  const [as, setAs] = useState('')
  const filtered = Object.values(letterFilter(conditions)).some(value => value !== undefined && value !== '')
  const [subject, all] = ids.length > 0 ? [`${count(ids.length)} selected`, false] : [filtered ? 'All that match the filter' : 'All', true]
  const begin = what => withErrorNotice(async () => {
    const onFound = number => { setProgress(`${counted(number, 'letter')} found…`) }
    const found = all ? await findLetters(letterFilter(conditions), onFound) : ids
    setProgress(undefined)
    if (found.length === 0) notify('No matching letters.')
    else ask({ what, ids: found })
  }).finally(() => { setProgress(undefined) })
  const change = ({ what, ids }) => withErrorNotice(async () => {
    const doing = what === 'replay' ? 'replayed' : 'discarded'
    setProgress(`0 of ${count(ids.length)} ${doing}…`)
    const results = await changeLetters(what, ids, as === '' ? undefined : as, number => {
      setProgress(`${count(number)} of ${count(ids.length)} ${doing}…`)
    })
    report(results, doing)
  }).finally(() => {
    setProgress(undefined)
    onDone()
  })
  const busy = progress !== undefined
  return html`
    <div class="letter-actions">
      <span class="quiet" role="status">${progress ?? subject}</span>
      <button class="button small" disabled=${busy} onClick=${() => begin('replay')}>Replay…</button>
      <button class="button small danger" disabled=${busy} onClick=${() => begin('discard')}>Discard…</button>
      <label class="picker">Replay as <select disabled=${busy} onChange=${event => { setAs(event.target.value) }}>
        <option value="" selected=${as === ''}>what it was</option>
        ${tasks.map(({ name }) => html`<option key=${name} value=${name} selected=${name === as}>${visible(name)}</option>`)}
      </select></label>
      ${asking === undefined
        ? null
        : html`<${Confirm} steps=${stepsOf(asking, as)} onYes=${() => change(asking)} onClose=${() => { ask(undefined) }} />`}
    </div>`
}

/** One confirmation for one letter, two for several. */
function stepsOf ({ what, ids }, as) {
  const number = counted(ids.length, 'dead letter')
  const [title, text, really] = what === 'replay'
    ? [
        `Replay ${number}?`,
        `${ids.length === 1 ? 'It is' : 'Each is'} enqueued again${as === '' ? ', as the task that it was' : ` as ${visible(as)}`}, ` +
          'and the letter is deleted then.',
        'They run as soon as their queues allow.'
      ]
    : [`Discard ${number}?`, 'This deletes the task with its payload, for good.', 'There is no way to bring them back.']
  const verb = what === 'replay' ? 'replay' : 'discard'
  if (ids.length === 1) return [{ title, text, yes: `Yes, ${verb} it` }]
  return [{ title, text, yes: `${what === 'replay' ? 'Replay' : 'Discard'} them…` }, {
    title: `Really ${verb} ${number}?`, text: really, yes: `Yes, ${verb} ${count(ids.length)}`
  }]
}

/** @throws where some were not */
function report (results, done) {
  const failed = results.filter(({ outcome }) => outcome === 'failed')
  const gone = results.filter(({ outcome }) => outcome === 'notFound').length
  const number = results.length - failed.length - gone
  if (number > 0 || gone > 0) {
    notify(`${counted(number, 'dead letter')} ${done}${gone === 0 ? '' : `, ${count(gone)} already gone`}.`)
  }
  if (failed.length > 0) throw new Error(visible(`${count(failed.length)} not ${done}: ${failed[0].problem}`))
}

/** @returns {{ letters?: object[], next?: string, error?: Error, reload: () => void }} */
function useLetters (conditions, pageToken) {
  const turn = useObservable(generation)
  const [times, setTimes] = useState(0)
  const [page, setPage] = useState({ letters: undefined, next: undefined, error: undefined })
  useEffect(() => {
    let current = true
    get('letters', { ...letterFilter(conditions), pageToken }).then(
      ({ letters, nextPageToken }) => { if (current) setPage({ letters, next: nextPageToken, error: undefined }) },
      error => { if (current) setPage({ letters: undefined, next: undefined, error }) }
    )
    return () => { current = false }
  }, [times, turn])
  return { ...page, reload: () => { setTimes(number => number + 1) } }
}
