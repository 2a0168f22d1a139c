/**
 * The types of `./index.js` for CommonJS modules, which load it with require(). By reference, so that there is one class for both.
 */
import type * as Otel from './index.js' with { 'resolution-mode': 'import' }

export declare const CloudTasksInstrumentation: typeof Otel.CloudTasksInstrumentation
export type CloudTasksInstrumentation = Otel.CloudTasksInstrumentation
export type * from './index.js' with { 'resolution-mode': 'import' }
