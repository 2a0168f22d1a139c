import { html } from '../htm-preact.js'

/** Says what is missing where the queues are in Google Cloud. */
export function ServedOnly () {
  return html`
    <p class="quiet served-only">The queues of this app are in Google Cloud, so this page shows the attempts that this
      process has served since it started. Tasks that wait, and attempts of other instances, are in the Cloud console; those of an
      emulator are on its page.</p>`
}
