/** The databases of a store. */
export type Table = 'queues' | 'tasks' | 'states' | 'names'

/**
 * A change of one record. A value of undefined removes it. `created`: nothing of that key has been written before, so that
 * a removal can undo it without a trace. Keys of `queues` are names, all others are numbers.
 */
export type Row = readonly [table: Table, key: string | number, value: Buffer | undefined, created?: true]
