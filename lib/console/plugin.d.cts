/**
 * The types of `./plugin.js` for CommonJS modules, which load it with require(). By reference: a second copy of the declarations would be a
 * second `Register` and a second augmentation of Fastify.
 */
import type * as Console from './plugin.js' with { 'resolution-mode': 'import' }

declare const taskConsole: typeof Console.default
export default taskConsole
export { taskConsole }
export declare const engineConsole: typeof Console.engineConsole
export type * from './plugin.js' with { 'resolution-mode': 'import' }
