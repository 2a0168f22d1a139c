/**
 * The types of `./index.js` for CommonJS modules, which load it with require(). By reference: a second copy of the declarations would be a
 * second `Register` and a second augmentation of Fastify.
 */
import type * as Testing from './index.js' with { 'resolution-mode': 'import' }

export declare const testTasks: typeof Testing.testTasks
export type * from './index.js' with { 'resolution-mode': 'import' }
