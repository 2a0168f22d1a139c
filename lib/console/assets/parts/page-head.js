import { useClock } from '../data/clock.js'
import { connection } from '../data/connection.js'
import { overview } from '../data/live-state.js'
import { html, useCallback } from '../htm-preact.js'
import { Icon } from './icon.js'
import { duration } from '../tasks/quantity.js'
import { address } from '../data/route.js'
import { help } from './shortcuts.js'
import { useObservable } from '../data/observable.js'
import { isDark, systemIsDark, theme, toggleTheme } from './theme.js'
import { visible } from './visible-text.js'

/** The header: navigation, state of the connection, and theme. */
export function PageHead ({ view }) {
  const loaded = useObservable(overview)
  useObservable(theme)
  useObservable(systemIsDark)
  const here = view === 'task' ? 'tasks' : view
  const link = (name, label) =>
    html`<a href=${address(name === 'overview' ? '' : name)} aria-current=${here === name ? 'page' : undefined}>${label}</a>`
  const other = isDark() ? 'light' : 'dark'
  return html`
    <header class="head">
      <div class="head-row">
        <a class="brand" href="#/"><span class="brand-mark" aria-hidden="true"></span><bdi>${visible(loaded?.title ?? 'Tasks')}</bdi></a>
        <nav aria-label="Views">
          ${link('overview', 'Overview')}
          ${link('tasks', 'Tasks')}
          ${loaded?.deadLetters ? link('letters', 'Dead letters') : null}
          ${loaded?.tasks === null ? null : link('run', 'Run a task')}
        </nav>
        <${Connection} />
        <div class="head-tools">
          <button class="icon-button" aria-label=${`Switch to the ${other} theme`} title=${`Switch to the ${other} theme (t)`}
            onClick=${toggleTheme}><${Icon} name=${other === 'dark' ? 'moon' : 'sun'} /></button>
          <button class="icon-button" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick=${() => {
            help.set(true)
          }}><${Icon} name="help" /></button>
        </div>
      </div>
      <${ConnectionLost} />
    </header>`
}

function Connection () {
  const { state } = useObservable(connection)
  const text = { connecting: 'Connecting', live: 'Live', lost: 'Offline' }[state]
  const title = { connecting: 'Connecting to the server', live: 'Changes are shown as they happen', lost: 'Reconnecting' }[state]
  return html`<span class="connection ${state}" title=${title} role="status">${text}</span>`
}

function ConnectionLost () {
  const { state, since } = useObservable(connection)
  if (state !== 'lost') return null
  return html`<div class="lost" role="alert">The connection to the server is lost. The data is from <${Ago}
    since=${since} />. Reconnecting…</div>`
}

function Ago ({ since }) {
  // In this machine's time, because there is no connection to the server.
  const read = useCallback(() => `${duration(Math.max(1000, Date.now() - since))} ago`, [since])
  // Not announced every second.
  return html`<span aria-live="off">${useClock(read)}</span>`
}
