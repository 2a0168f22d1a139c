/** Payloads that are being written, as JSON text, by the task's name. They last as long as the page is open: payloads may be secret. */
export const drafts = new Map()
