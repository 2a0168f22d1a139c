import type { Deleted, Failure, Sent, Transport } from './transport.js'

/** Takes nothing and delivers nothing: for servers that a command has loaded. */
export class NoTransport implements Transport {
  readonly inspection = undefined
  readonly #failure: Failure

  /** @param problem what whoever enqueues is told */
  constructor (problem: string) {
    this.#failure = { outcome: 'failed', problem, cause: undefined }
  }

  async open (): Promise<void> {}

  start (): void {}

  async createTask (): Promise<Sent> {
    return this.#failure
  }

  async deleteTask (): Promise<Deleted> {
    return this.#failure
  }

  async stop (): Promise<void> {}

  async close (): Promise<void> {}
}
