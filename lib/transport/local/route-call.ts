/** A request to a route of this process. */
export interface RouteRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
  /** Without `host` and `content-length`. */
  readonly headers: Readonly<Record<string, string>>
  /** Sent as the last header: what is added last can be deleted from an object without making all others slow to read. */
  readonly secret?: string
  readonly body: Uint8Array | undefined
}

export interface RouteResponse {
  readonly status: number
  /** The task route's result header; undefined if something else in the app responded. */
  readonly result: string | undefined
}

/** A request in flight. */
export interface RouteCall {
  /** Rejects when there will be no response. */
  readonly response: Promise<RouteResponse>
  /** Aborts the request: the route sees its client disconnect, if the delivery supports that. */
  abort (): void
}
