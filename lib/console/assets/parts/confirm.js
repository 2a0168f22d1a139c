import { Dialog } from './dialog.js'
import { html, useEffect, useRef, useState } from '../htm-preact.js'

/**
 * Asks for confirmation of an action that cannot be undone: once for each of `steps`, `{ title, text, yes }`. The focus is on Cancel
 * each time, so that holding a key down does not confirm.
 */
export function Confirm ({ steps, onYes, onClose }) {
  const [step, setStep] = useState(0)
  const cancel = useRef(null)
  useEffect(() => { cancel.current.focus() }, [step])
  const { title, text, yes } = steps[step]
  const confirm = () => {
    if (step + 1 < steps.length) {
      setStep(step + 1)
      return
    }
    onClose()
    onYes()
  }
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <p aria-live="polite">${text}</p>
      <div class="dialog-actions">
        <button ref=${cancel} class="button" onClick=${onClose}>Cancel</button>
        <button class="button danger" onClick=${confirm}>${yes}</button>
      </div>
    <//>`
}
