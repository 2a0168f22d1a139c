/** A request to a route of this process. */
export interface RouteRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
  /** Without `host` and `content-length`. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
}

export interface RouteResponse {
  readonly status: number
  /** What a task route marked its answer with; undefined where something else of the host answered. */
  readonly result: string | undefined
}

/** A request under way. */
export interface RouteCall {
  /** Rejects when there will be no response. */
  readonly response: Promise<RouteResponse>
  /** Gives the response up: the route sees its caller hang up, where the way of delivery can show that. */
  abort (): void
}
