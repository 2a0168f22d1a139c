/**
 * `npm run clients`: has gcloud and the clients of other languages work with the emulator, as far as they are installed. What is
 * absent is skipped with a line that says how to get it. Exits with 1 when anything differs from what Cloud Tasks does.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createEmulator } from '../../lib/emulator/index.js'
import { gcloud } from './gcloud.js'
import { go } from './go.js'
import { python } from './python.js'
import { Missing, type Check, type Place } from './check.js'

const checks: Readonly<Record<string, Check>> = { gcloud, python, go }
const wanted = process.argv.slice(2)
const unknown = wanted.find(name => !(name in checks))
if (unknown !== undefined) {
  console.error(`'${unknown}' is no client; there are ${Object.keys(checks).join(', ')}`)
  process.exitCode = 2
} else {
  for (const name of wanted.length === 0 ? Object.keys(checks) : wanted) await run(name, checks[name]!)
}

async function run (name: string, check: Check): Promise<void> {
  const attempts: string[] = []
  const target = createServer((request, response) => {
    attempts.push(`${request.url} ${request.headers['x-cloudtasks-taskname'] ?? request.headers['x-appengine-taskname']}`)
    response.end()
  })
  await new Promise<void>(resolve => { target.listen(0, '127.0.0.1', resolve) })
  const targetUrl = `http://127.0.0.1:${(target.address() as AddressInfo).port}`
  const emulator = createEmulator({ port: 0, appEngineUrl: targetUrl })
  await emulator.listen()
  const place: Place = { emulator, targetUrl, attempts, say: step => { console.log(`ok ${name}: ${step}`) } }
  try {
    await check(place)
  } catch (error) {
    if (error instanceof Missing) {
      console.log(`skipped ${name}: ${error.message}`)
    } else {
      console.error(`FAILED ${name}: ${error instanceof Error ? error.message : String(error)}`)
      process.exitCode = 1
    }
  } finally {
    await emulator.close()
    target.closeAllConnections()
    target.close()
  }
}
