import { Dialog } from './dialog.js'
import { overview } from '../data/live-state.js'
import { html, useEffect } from '../htm-preact.js'
import { keep, recall } from '../data/local-storage.js'
import { go } from '../data/route.js'
import { Store, useStore } from '../data/store.js'
import { toggleTheme } from './theme.js'

/** Whether the list of shortcuts is open. */
export const help = new Store(false)

/** Whether single letters do anything: who speaks to the machine may turn them off. */
const letters = new Store(recall('letters') !== 'off')
letters.subscribe(() => { keep('letters', letters.value ? 'on' : 'off') })

const LIST = [
  ['o', 'Overview', () => { go('') }],
  ['l', 'Tasks', () => { go('tasks', { state: 'all' }) }],
  ['r', 'Run a task', () => { if (overview.value?.tasks !== null) go('run') }],
  ['d', 'Dead letters', () => { if (overview.value?.deadLetters) go('letters') }],
  ['/', 'Look for a task to run', () => { document.getElementById('task-filter')?.focus() }],
  ['t', 'Dark or light', toggleTheme],
  ['?', 'This list', () => { help.set(true) }]
]

/** The keys of the page, and their list. */
export function Shortcuts () {
  const open = useStore(help)
  const on = useStore(letters)
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
        <div><dt><kbd>Ctrl</kbd> <kbd>Enter</kbd></dt><dd>Run what is in the form</dd></div>
        <div><dt><kbd>Esc</kbd></dt><dd>Close what is open</dd></div>
      </dl>
      <label class="check"><input type="checkbox" checked=${on} onChange=${event => {
        letters.set(event.target.checked)
      }} /> Single keys are shortcuts</label>
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
