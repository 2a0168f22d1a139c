import { html } from '../htm-preact.js'

/** Explains what is not shown where the queues are in Google Cloud. */
export function ServedOnly () {
  return html`
    <p class="quiet served-only">The queues of this app are in Google Cloud, so this page shows the attempts that this
      process has served since it started. See the Cloud console, or the emulator's page, for waiting tasks and attempts of other
      instances.</p>`
}
