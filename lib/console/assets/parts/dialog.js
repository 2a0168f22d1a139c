import { html, useLayoutEffect, useRef } from '../htm-preact.js'

/** A modal dialog. Escape closes it, and the focus returns to where it was. */
export function Dialog ({ title, onClose, children }) {
  const dialog = useRef(null)
  useLayoutEffect(() => {
    const before = document.activeElement
    dialog.current.showModal()
    return () => { before?.focus?.() }
  }, [])
  const cancel = event => {
    event.preventDefault()
    onClose()
  }
  const press = event => { if (event.target === dialog.current) onClose() }
  return html`
    <dialog ref=${dialog} class="dialog" aria-labelledby="dialog-title" onCancel=${cancel} onMouseDown=${press}>
      <div class="dialog-body">
        <h2 id="dialog-title">${title}</h2>
        ${children}
      </div>
    </dialog>`
}
