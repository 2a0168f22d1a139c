import { open } from './data/live-state.js'
import { html, render } from './htm-preact.js'
import { Page } from './page.js'

const root = document.getElementById('root')
root.replaceChildren()
render(html`<${Page} />`, root)
open()
