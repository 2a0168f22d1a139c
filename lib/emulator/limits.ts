/** What production takes in one request, over either interface. */
export const MAX_REQUEST_BYTES = 10 * 1024 * 1024
