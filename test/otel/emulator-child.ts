/** The emulator in a process of its own: prints its port, and ends with its standard input. */
import { createEmulator } from '../../lib/emulator/index.js'

const emulator = createEmulator({ port: 0, autoCreateQueues: true })
await emulator.listen()
process.stdout.write(`${emulator.port}\n`)
process.stdin.on('end', () => { emulator.close() }).resume()
