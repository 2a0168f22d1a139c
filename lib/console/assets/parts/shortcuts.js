import { Dialog } from './dialog.js'
import { overview } from '../data/live-state.js'
import { html, useEffect } from '../htm-preact.js'
import { saveSetting, readSetting } from '../data/local-storage.js'
import { go } from '../data/route.js'
import { Observable, useObservable } from '../data/observable.js'
import { toggleTheme } from './theme.js'

/** Whether the list of shortcuts is open. */
export const help = new Observable(false)

/** Whether single-key shortcuts are enabled; users of speech input can turn them off. */
const letters = new Observable(readSetting('letters') !== 'off')
letters.subscribe(() => { saveSetting('letters', letters.value ? 'on' : 'off') })

const LIST = [
  ['o', 'Overview', () => { go('') }],
  ['l', 'Tasks', () => { go('tasks', { state: 'all' }) }],
  ['r', 'Run a task', () => { if (overview.value?.tasks !== null) go('run') }],
  ['d', 'Dead letters', () => { if (overview.value?.deadLetters) go('letters') }],
  ['/', 'Search for a task to run', () => { document.getElementById('task-filter')?.focus() }],
  ['t', 'Dark or light', toggleTheme],
  ['?', 'Show this list', () => { help.set(true) }]
]

/** Handles keyboard shortcuts, and shows their list. */
export function Shortcuts () {
  const open = useObservable(help)
  const on = useObservable(letters)
  useEffect(() => {
    addEventListener('keydown', press)
    return () => { removeEventListener('keydown', press) }
  }, [])
  if (!open) return null
  const close = () => { help.set(false) }
  return html`
    <${Dialog} title="Keyboard shortcuts" onClose=${close}>
      <dl class="keys">
        ${LIST.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}
        <div><dt><kbd>Ctrl</kbd> <kbd>Enter</kbd></dt><dd>Run the task in the form</dd></div>
        <div><dt><kbd>Esc</kbd></dt><dd>Close the dialog</dd></div>
      </dl>
      <label class="check"><input type="checkbox" checked=${on} onChange=${event => {
        letters.set(event.target.checked)
      }} /> Enable single-key shortcuts</label>
      <div class="dialog-actions"><button class="button" onClick=${close}>Close</button></div>
    <//>`
}

function press (event) {
  if (!letters.value || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
  if (event.target.closest?.('input, textarea, select, dialog, [contenteditable]')) return
  const action = LIST.find(([key]) => key === event.key)?.[2]
  if (action === undefined) return
  event.preventDefault()
  action()
}
