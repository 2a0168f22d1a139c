/**
 * The types of `./index.js` for CommonJS modules, which load it with require(). By reference: a second copy of the declarations would be a
 * second `Register` and a second augmentation of Fastify.
 */
import type * as Package from './index.js' with { 'resolution-mode': 'import' }

declare const cloudTasks: typeof Package.default
export default cloudTasks
export { cloudTasks }
export declare const defineTasks: typeof Package.defineTasks
export declare const tasksOf: typeof Package.tasksOf
export declare const errors: typeof Package.errors
export declare namespace errors {
  export type TaskError<C extends string = string> = Package.errors.TaskError<C>
  export type TaskErrorClass<C extends string, W extends readonly unknown[]> = Package.errors.TaskErrorClass<C, W>
}
export type * from './index.js' with { 'resolution-mode': 'import' }
