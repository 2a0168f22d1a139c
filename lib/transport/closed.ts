import type { Failure, Found, Transport } from './transport.js'

/**
 * Replaces the embedded queue in a process that is not a server. Opens nothing and rejects every task: in memory it would be lost
 * with the process, and the directory is locked by the server.
 */
export class ClosedTransport implements Transport {
  readonly inspection = undefined
  readonly createTasks = undefined
  readonly retrySettings = undefined

  async open (): Promise<void> {}

  async opened (): Promise<void> {}

  start (): void {}

  warmUp (): void {}

  async createTask (): Promise<Failure> {
    return notServing()
  }

  async deleteTask (): Promise<Failure> {
    return notServing()
  }

  async readTask (): Promise<Failure> {
    return notServing()
  }

  async putTask (): Promise<Failure> {
    return notServing()
  }

  async listTasks (): Promise<Failure> {
    return notServing()
  }

  async findTask (): Promise<Found> {
    return { outcome: 'notFound' }
  }

  async stop (): Promise<void> {}

  async close (): Promise<void> {}
}

function notServing (): Failure {
  return {
    outcome: 'failed',
    problem: "the embedded queue (transport 'local') runs only in a server process, not in a command; to enqueue from a command, " +
      'use Cloud Tasks or the emulator (CLOUD_TASKS_EMULATOR_HOST)',
    cause: undefined
  }
}
