import { useClock } from '../data/clock.js'
import { html, useLayoutEffect, useMemo, useRef, useState } from '../htm-preact.js'
import { count, timeOfDay } from './quantity.js'
import { fill, gather, nice } from './timeline-columns.js'

/** A chart of the last five minutes: arrivals and attempts above, waiting tasks below. It moves with the clock. */
export function Timeline ({ buckets, queues }) {
  const [box, width] = useWidth()
  const second = useClock(secondOf)
  const [at, setAt] = useState(undefined)
  const seconds = useMemo(() => fill(buckets, second), [buckets, second])
  const columns = useMemo(() => gather(seconds, Math.max(20, Math.floor(width / COLUMN_WIDTH))), [seconds, width])
  const pointed = at === undefined ? undefined : columns[Math.min(columns.length - 1, Math.max(0, Math.floor(at * columns.length)))]
  const point = event => {
    const { left, width } = event.currentTarget.getBoundingClientRect()
    setAt((event.clientX - left) / width)
  }
  return html`
    <figure class="timeline panel" aria-labelledby="timeline-title">
      <figcaption>
        <h2 id="timeline-title">Last 5 minutes</h2>
        <${Legend} seconds=${seconds} queues=${queues} />
      </figcaption>
      <div class="chart" ref=${box} onPointerMove=${point} onPointerLeave=${() => { setAt(undefined) }}>
        ${width === 0 ? null : html`<${Chart} columns=${columns} width=${width} pointed=${pointed} />`}
      </div>
      <${Readout} column=${pointed} columns=${columns} />
      <details class="by-minute"><summary>As a table</summary><${Minutes} seconds=${seconds} /></details>
    </figure>`
}

/** Arrived and waiting tasks are only known with queues. */
function Legend ({ seconds, queues }) {
  const sum = key => seconds.reduce((total, bucket) => total + bucket[key], 0)
  const now = key => queues === null ? 0 : queues.reduce((total, queue) => total + queue[key], 0)
  const item = (key, label, value) => html`<div class="legend-item ${key}"><dt>${label}</dt><dd>${count(value)}</dd></div>`
  return html`
    <dl class="legend">
      ${queues === null ? null : item('arrived', 'Arrived', sum('arrived'))}
      ${item('succeeded', 'Succeeded', sum('succeeded'))}
      ${item('failed', 'Failed attempts', sum('failed'))}
      ${queues === null ? null : item('waiting', 'Waiting now', now('waiting'))}
      ${queues === null ? null : item('running', 'Running now', now('running'))}
    </dl>`
}

function Chart ({ columns, width, pointed }) {
  const x = index => Math.round(index * width / columns.length)
  const most = nice(Math.max(...columns.map(({ arrived, succeeded, failed }) => Math.max(arrived, succeeded + failed))))
  const mostWaiting = nice(Math.max(...columns.map(({ waiting }) => waiting)))
  const y = value => GROUND - RUNS_HEIGHT * (value / most)
  const waitingY = value => HEIGHT - WAITING_HEIGHT * (value / mostWaiting)
  const bars = (from, to) => columns.map((column, index) => {
    const low = from(column)
    const high = to(column)
    if (high === low) return ''
    // Small values stay visible next to large ones.
    const top = Math.min(y(high), y(low) - 1.5)
    return `M${x(index)} ${y(low).toFixed(1)}V${top.toFixed(1)}H${Math.max(x(index) + 1, x(index + 1) - 1)}V${y(low).toFixed(1)}z`
  }).join('')
  const marks = columns.map(({ arrived }, index) => arrived === 0 ? '' : `M${x(index)} ${y(arrived).toFixed(1)}H${x(index + 1)}`).join('')
  // No line where nothing is waiting.
  const waitingLine = columns.map(({ waiting }, index) => {
    const before = columns[index - 1]?.waiting ?? 0
    if (before === 0 && waiting === 0) return ''
    return `${before === 0 ? `M${x(index)} ${HEIGHT}V` : 'V'}${waitingY(waiting).toFixed(1)}H${x(index + 1)}`
  }).join('')
  const waitingSteps = columns.map((column, index) => `V${waitingY(column.waiting).toFixed(1)}H${x(index + 1)}`).join('')
  const place = pointed === undefined ? undefined : columns.indexOf(pointed)
  return html`
    <svg class="chart-picture" width=${width} height=${HEIGHT} viewBox="0 0 ${width} ${HEIGHT}" aria-hidden="true" focusable="false">
      ${place === undefined || place < 0
        ? null
        : html`<rect class="pointed" x=${x(place)} y="0" width=${x(place + 1) - x(place)}
        height=${HEIGHT} />`}
      <path class="grid"
        d=${[GROUND - RUNS_HEIGHT, GROUND - RUNS_HEIGHT / 2, GROUND, HEIGHT - 1].map(height => `M0 ${height + 0.5}H${width}`).join('')} />
      <path class="waiting-area" d="M0 ${HEIGHT}${waitingSteps}V${HEIGHT}z" />
      <path class="waiting-line" d=${waitingLine} />
      <path class="succeeded-bars" d=${bars(
        () => 0,
        ({ succeeded }) => succeeded
      )} />
      <path class="failed-bars" d=${bars(
        ({ succeeded }) => succeeded,
        ({ succeeded, failed }) => succeeded + failed
      )} />
      <path class="arrived-marks" d=${marks} />
    </svg>
    <span class="scale top" aria-hidden="true">${count(most)} in ${columns[0].seconds} s</span>
    <span class="scale low" aria-hidden="true">${count(mostWaiting)} waiting</span>`
}

function Readout ({ column, columns }) {
  if (column === undefined) {
    return html`<div class="readout" aria-hidden="true"><span>${timeOfDay(columns[0].at)}</span><span>now</span></div>`
  }
  const { at, seconds, arrived, succeeded, failed, waiting } = column
  return html`
    <div class="readout pointed" aria-hidden="true"><span>
      <b>${timeOfDay(at)}</b> and ${seconds} s: ${count(arrived)} arrived, ${count(succeeded)} succeeded, ${
      count(failed)} failed, ${count(waiting)} waited</span></div>`
}

function Minutes ({ seconds }) {
  const minutes = gather(seconds, 5)
  return html`
    <table class="table">
      <caption class="unseen">The last five minutes, minute by minute</caption>
      <thead><tr><th scope="col">From</th><th scope="col" class="number">Arrived</th><th scope="col" class="number">Succeeded</th>
        <th scope="col" class="number">Failed attempts</th><th scope="col" class="number">Waiting at the end</th></tr></thead>
      <tbody>${minutes.map(
        ({ at, arrived, succeeded, failed, waiting }) => html`
        <tr key=${at}><th scope="row">${timeOfDay(at)}</th><td class="number">${count(arrived)}</td>
          <td class="number">${count(succeeded)}</td><td class="number">${count(failed)}</td><td class="number">${count(waiting)}</td>
          </tr>`
      )}
      </tbody>
    </table>`
}

function useWidth () {
  const box = useRef(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const measure = () => { setWidth(Math.floor(box.current.clientWidth)) }
    const observer = new ResizeObserver(measure)
    observer.observe(box.current)
    measure()
    return () => { observer.disconnect() }
  }, [])
  return [box, width]
}

function secondOf (now) {
  return Math.floor(now / 1000) * 1000
}

const COLUMN_WIDTH = 6
const HEIGHT = 160
/** Baseline of attempts and arrivals. */
const GROUND = 106
const RUNS_HEIGHT = 90
const WAITING_HEIGHT = 36
