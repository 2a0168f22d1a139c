import { createHash } from 'node:crypto'

/** Whether a mutant belongs to a sample of `percent`. Unchanged code gives the same sample each time; 10 % are among the 20 %. */
export function chosen (id, percent) {
  return createHash('sha1').update(id).digest().readUInt32BE() / 2 ** 32 * 100 < percent
}
