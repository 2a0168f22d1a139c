import { html } from '../htm-preact.js'
import { Identifier } from '../parts/identifier.js'
import { visible } from '../parts/visible-text.js'
import { Time } from './time.js'

/**
 * A table of dead letters. Their facts are untrusted text.
 * @param selected selected ids
 * @param {(id: string) => string | undefined} hrefOf link to the whole task
 */
export function LetterTable ({ letters, selected, onSelect, hrefOf }) {
  const all = letters.every(({ id }) => selected.has(id))
  const toggleAll = () => { onSelect(new Set(all ? [] : letters.map(({ id }) => id))) }
  const toggle = id => {
    const next = new Set(selected)
    if (!next.delete(id)) next.add(id)
    onSelect(next)
  }
  return html`
    <table class="table letters">
      <caption class="unseen">Dead letters</caption>
      <thead>
        <tr>
          <th scope="col" class="check-cell"><input type="checkbox" aria-label="Select all on this page" checked=${all}
            onChange=${toggleAll} /></th>
          <th scope="col" class="letter-task">Task</th>
          <th scope="col">Error</th>
          <th scope="col" class="number wide-only">Attempts</th>
          <th scope="col" class="when">Ended</th>
        </tr>
      </thead>
      <tbody>${letters.map(letter => html`<${Row} key=${letter.id} letter=${letter} checked=${selected.has(letter.id)}
        href=${hrefOf(letter.id)} onToggle=${toggle} />`)}</tbody>
    </table>`
}

function Row ({ letter, checked, href, onToggle }) {
  const { id, task, path, queue, taskId, attempts, endedAt, error } = letter
  const title = visible(task ?? path)
  return html`
    <tr>
      <td class="check-cell"><input type="checkbox" aria-label=${`Select ${title} ${visible(taskId ?? id)}`} checked=${checked}
        onChange=${() => { onToggle(id) }} /></td>
      <th scope="row" class="letter-task"><bdi class="task-name">${title}</bdi>
        <span class="task-id"><${Identifier} text=${taskId ?? id} href=${href} /></span>
        ${queue === undefined ? null : html`<span class="quiet">in <bdi>${visible(queue)}</bdi></span>`}</th>
      <td>${error === undefined
        ? html`<span class="quiet">not known</span>`
        : html`<span class="error-name">${visible(error.name)}</span>${error.code === undefined
          ? null
          : html` <code class="error-code">${visible(error.code)}</code>`} <bdi
          class="letter-error" title=${visible(error.message)}>${visible(error.message)}</bdi>`}</td>
      <td class="number wide-only">${attempts ?? ''}</td>
      <td class="when">${endedAt === undefined ? html`<span class="quiet">not known</span>` : html`<${Time} at=${endedAt} />`}</td>
    </tr>`
}
