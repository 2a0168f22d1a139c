export { createEmulator, type Emulator, type EmulatorOptions } from './server.js'
