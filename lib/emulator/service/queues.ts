import { parseQueueName } from '../../cloud-tasks/names.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { Engine, StoredQueue } from '../../engine/engine.js'
import type { QueueMessage } from '../messages/messages.js'
import { queueMessage, readQueue, settingsMessage } from '../messages/queue.js'
import { picked } from '../proto/field-mask.js'
import { decodeToken, encodeToken } from './page-token.js'
import { QueueStats } from './queue-stats.js'
import { updatedQueue } from './queue-update.js'
import { checkLocation, checkPage, checkParent } from './request-checks.js'
import type { CreateQueueRequest, GetQueueRequest, ListQueuesRequest, UpdateQueueRequest } from './requests.js'

export interface QueuePage {
  readonly queues: QueueMessage[]
  readonly nextPageToken?: string
}

/** The methods of queues, without their tasks and IAM policies. */
export class Queues {
  readonly #engine: Engine
  readonly #now: () => number
  readonly #stats: QueueStats

  constructor (engine: Engine, now: () => number) {
    this.#engine = engine
    this.#now = now
    this.#stats = new QueueStats(engine, now)
  }

  list ({ parent = '', filter = '', matches, readMask = [], ...page }: ListQueuesRequest): QueuePage {
    checkParent(parent)
    const { pageSize = 0, pageToken = '' } = checkPage(page)
    const now = this.#now()
    const query = `${parent} ${filter}`
    const { queues, nextPageToken } = this.#engine.listQueues(parent, {
      pageSize,
      pageToken: decodeToken(pageToken, query, now),
      ...(matches === undefined ? undefined : { matches: stored => matches(queueMessage(stored)) })
    })
    return {
      queues: queues.map(stored => this.#read(stored, readMask)),
      ...(nextPageToken === undefined ? undefined : { nextPageToken: encodeToken(nextPageToken, query, now) })
    }
  }

  get ({ name = '', readMask = [] }: GetQueueRequest): QueueMessage {
    checkLocation(name)
    return this.#read(this.#engine.getQueue(name), readMask)
  }

  async create ({ parent = '', queue = {} }: CreateQueueRequest): Promise<QueueMessage> {
    checkParent(parent)
    const { name = '' } = queue
    checkLocation(name)
    if (parseQueueName(name) === undefined) throw statusErrors.queueName()
    if (!name.startsWith(`${parent}/queues/`)) throw statusErrors.queueElsewhere(parent, name)
    return queueMessage(await this.#engine.createQueue(name, readQueue(queue)))
  }

  async update ({ queue = {}, updateMask = [] }: UpdateQueueRequest): Promise<QueueMessage> {
    const { name = '' } = queue
    checkLocation(name)
    return queueMessage(
      await this.#engine.updateQueue(name, settings =>
        readQueue(updatedQueue(settings === undefined ? {} : settingsMessage(settings), queue, updateMask))
      )
    )
  }

  async delete (name: string): Promise<object> {
    checkLocation(name)
    await this.#engine.deleteQueue(name)
    return {}
  }

  async purge (name: string): Promise<QueueMessage> {
    checkLocation(name)
    return queueMessage(await this.#engine.purgeQueue(name))
  }

  async pause (name: string): Promise<QueueMessage> {
    checkLocation(name)
    return queueMessage(await this.#engine.pauseQueue(name))
  }

  async resume (name: string): Promise<QueueMessage> {
    checkLocation(name)
    return queueMessage(await this.#engine.resumeQueue(name))
  }

  #read (stored: StoredQueue, readMask: readonly string[][]): QueueMessage {
    const message = queueMessage(stored)
    // As in production, statistics are returned only on request.
    if (!readMask.some(([first]) => first === 'stats')) return picked(message, readMask)
    return picked({ ...message, stats: this.#stats.of(stored.name) }, readMask)
  }
}
