import { html, useState } from '../htm-preact.js'
import { withErrorNotice, notify } from '../parts/notice.js'
import { address } from '../data/route.js'
import { post } from '../data/server.js'
import { visible } from '../parts/visible-text.js'

/** Enqueues the payload, with an optional delay and id. */
export function EnqueueForm ({ task, queue, text, queues, onTry }) {
  const [delay, setDelay] = useState('')
  const [id, setId] = useState('')
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState(undefined)
  const enqueue = event => {
    event.preventDefault()
    onTry()
    const seconds = delay.trim() === '' ? 0 : Number(delay)
    if (!(seconds >= 0)) {
      setFault('The delay must be a number of seconds, such as 30')
      return
    }
    setFault(undefined)
    setBusy(true)
    return withErrorNotice(async () => {
      try {
        const done = await post('enqueue', {
          task,
          text,
          ...(id === '' ? undefined : { id }),
          ...(seconds === 0 ? undefined : { scheduleDelaySeconds: seconds })
        })
        const link = queues === null ? undefined : { href: address('task', { name: done.name }), text: 'View task' }
        if (done.duplicate) notify('A task with this id exists already: nothing was enqueued.', link)
        else notify(`Enqueued as ${done.id}.`, link)
      } catch (error) {
        setFault(error.message)
      } finally {
        setBusy(false)
      }
    })
  }
  return html`
    <form class="enqueue" aria-label="Enqueue" noValidate onSubmit=${enqueue}>
      <p class="quiet">Or enqueue it on queue <bdi>${visible(queue)}</bdi>, with retries and de-duplication by id.</p>
      <div class="enqueue-row">
        <div class="enqueue-field"><label for="enqueue-delay">Delay in seconds</label>
          <input id="enqueue-delay" type="text" inputmode="decimal" autocomplete="off" placeholder="none" value=${delay}
          onInput=${event => {
          setDelay(event.target.value)
        }} aria-describedby="enqueue-fault" /></div>
        <div class="enqueue-field grow"><label for="enqueue-id">Id</label>
          <input id="enqueue-id" type="text" autocomplete="off" spellcheck=${false} placeholder="generated" value=${id}
          onInput=${event => {
          setId(event.target.value)
        }} aria-describedby="enqueue-fault" /></div>
        <button class="button" type="submit" disabled=${busy}>Enqueue</button>
      </div>
      <p class="fault" id="enqueue-fault" role="alert">${fault ?? ''}</p>
    </form>`
}
