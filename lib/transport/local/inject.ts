import type { FastifyInstance } from 'fastify'
import { RESULT_HEADER, SECRET_HEADER } from '../../delivery/headers.js'
import type { RouteCall, RouteRequest, RouteResponse } from './route-call.js'

/** Sends a request by `app.inject`, for apps that do not work with the loopback. */
export function inject (app: FastifyInstance, { method, url, headers, secret, body }: RouteRequest): RouteCall {
  // With a callback, because the promise of `inject` is created on another turn of the event loop.
  const response = new Promise<RouteResponse>((resolve, reject) => {
    // Without `validate`, light-my-request checks its options against a schema, which costs as much as validating the payload.
    const options = {
      method: method as 'POST',
      url,
      headers: secret === undefined ? headers : { ...headers, [SECRET_HEADER]: secret },
      payload: body as Buffer,
      validate: false
    }
    app.inject(options, (error, response) => {
      if (response === undefined) reject(error ?? new Error('the server gave no response'))
      else resolve({ status: response.statusCode, result: response.headers[RESULT_HEADER] as string | undefined })
    })
  })
  return { response, abort: () => {} }
}
