import type { Failure, Found, Transport } from './transport.js'

/**
 * Stands for the embedded queue in a process that does not serve. Opens nothing and refuses every task: what memory accepted
 * would be gone with the process, and the directory is the serving process's own.
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
    return refusal()
  }

  async deleteTask (): Promise<Failure> {
    return refusal()
  }

  async readTask (): Promise<Failure> {
    return refusal()
  }

  async putTask (): Promise<Failure> {
    return refusal()
  }

  async listTasks (): Promise<Failure> {
    return refusal()
  }

  async findTask (): Promise<Found> {
    return { outcome: 'notFound' }
  }

  async stop (): Promise<void> {}

  async close (): Promise<void> {}
}

function refusal (): Failure {
  return {
    outcome: 'failed',
    problem: "the embedded queue (transport 'local') runs only in a process that serves, and this one is a command; to enqueue from it, " +
      'use Cloud Tasks or its emulator (CLOUD_TASKS_EMULATOR_HOST)',
    cause: undefined
  }
}
