import type { Attributes, BatchObservableCallback, Counter, Histogram, Meter, Observable } from '@opentelemetry/api'
import { countsChannel, type QueueCountsEvent } from '../events.js'
import { metricNames } from './names.js'

/** The instruments of one meter. */
export class Measurements {
  readonly #meter: Meter
  readonly #sent: Counter
  readonly #sendDuration: Histogram
  readonly #consumed: Counter
  readonly #processDuration: Histogram
  readonly #observables: [waiting: Observable, running: Observable, oldestDue: Observable]
  readonly #observe: BatchObservableCallback

  /** @param queueAttributes returns the attributes of a queue by its short id */
  constructor (meter: Meter, queueAttributes: (queue: string) => Attributes) {
    this.#meter = meter
    this.#sent = meter.createCounter(metricNames.sent, {
      unit: '{message}', description: 'Number of messages producer attempted to send to the broker.'
    })
    this.#sendDuration = meter.createHistogram(metricNames.sendDuration, {
      unit: 's',
      description: 'Duration of messaging operation initiated by a producer or consumer client.',
      advice: { explicitBucketBoundaries: SECONDS }
    })
    this.#consumed = meter.createCounter(metricNames.consumed, {
      unit: '{message}', description: 'Number of messages that were delivered to the application.'
    })
    this.#processDuration = meter.createHistogram(metricNames.processDuration, {
      unit: 's', description: 'Duration of processing operation.', advice: { explicitBucketBoundaries: PROCESS_SECONDS }
    })
    const [waiting, running, oldestDue] = this.#observables = [
      meter.createObservableUpDownCounter(metricNames.waiting, {
        unit: '{task}', description: 'Tasks of an embedded queue that are due or will be.'
      }),
      meter.createObservableUpDownCounter(metricNames.running, {
        unit: '{task}', description: 'Attempts of an embedded queue that are under way.'
      }),
      meter.createObservableGauge(metricNames.oldestDue, {
        unit: 's', description: 'How long the oldest waiting task of an embedded queue has been due.'
      })
    ]
    this.#observe = result => {
      for (const [queue, counts] of collectCounts()) {
        const attributes = queueAttributes(queue)
        result.observe(waiting, counts.waiting, attributes)
        result.observe(running, counts.running, attributes)
        result.observe(oldestDue, counts.oldestDueSeconds, attributes)
      }
    }
    meter.addBatchObservableCallback(this.#observe, this.#observables)
  }

  sent (count: number, attributes: Attributes): void {
    if (count > 0) this.#sent.add(count, attributes)
  }

  sendEnded (seconds: number, attributes: Attributes): void {
    this.#sendDuration.record(seconds, attributes)
  }

  processEnded (seconds: number, attributes: Attributes): void {
    this.#consumed.add(1, attributes)
    this.#processDuration.record(seconds, attributes)
  }

  close (): void {
    this.#meter.removeBatchObservableCallback(this.#observe, this.#observables)
  }
}

type Counts = Parameters<QueueCountsEvent['add']>[1]

/** Counts of all embedded queues in this process, by short id. Several apps can have queues with the same name. */
function collectCounts (): Map<string, Counts> {
  const queues = new Map<string, Counts>()
  const event: QueueCountsEvent = {
    add (queue, { waiting, running, oldestDueSeconds }) {
      const before = queues.get(queue)
      queues.set(queue, {
        waiting: waiting + (before?.waiting ?? 0),
        running: running + (before?.running ?? 0),
        oldestDueSeconds: Math.max(oldestDueSeconds, before?.oldestDueSeconds ?? 0)
      })
    }
  }
  countsChannel.publish(event)
  return queues
}

/** The bucket boundaries in the conventions. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** Extended for attempts, which can take half an hour. */
const PROCESS_SECONDS = [...SECONDS, 30, 60, 300, 600, 1800]
