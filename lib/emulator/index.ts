export { createEmulator, type Emulator } from './server.js'
export type { EmulatorOptions } from './options.js'
export type { EmulatorLogger } from './dispatch/attempt-log.js'
