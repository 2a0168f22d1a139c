/** Drafts of payloads, as JSON text by the task's name. Kept in memory only, because payloads can be secret. */
export const drafts = new Map()
