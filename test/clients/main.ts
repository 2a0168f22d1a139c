/**
 * `npm run clients`: lets gcloud and Google's clients for other languages work with the emulator, unchanged but for endpoint and
 * credentials. Clients come from the registries of their languages, into a temporary folder that is removed afterwards; with
 * CLIENTS_CACHE=DIR the downloads are kept there for the next run. A client that is absent is skipped with a line that says how to
 * get it, and the last lines list all that were left out. Exits with 1 when anything differs from what Cloud Tasks does.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createEmulator } from '../../lib/emulator/index.js'
import { django } from './django.js'
import { gcloud } from './gcloud/gcloud.js'
import { go } from './go.js'
import { java } from './java.js'
import { node } from './node.js'
import { python, python152, pythonFirebase } from './python.js'
import { routesGo, routesPython } from './routes.js'
import { Missing, type Check, type Place } from './check.js'

const checks: Readonly<Record<string, Check>> = {
  node,
  gcloud,
  python,
  'python-1.5.2': python152,
  'python-firebase': pythonFirebase,
  django,
  go,
  java,
  'routes-python': routesPython,
  'routes-go': routesGo
}
const wanted = process.argv.slice(2)
const unknown = wanted.find(name => !(name in checks))
if (unknown !== undefined) {
  console.error(`'${unknown}' is not a client; there are ${Object.keys(checks).join(', ')}`)
  process.exitCode = 2
} else {
  const leftOut: string[] = []
  for (const name of wanted.length === 0 ? Object.keys(checks) : wanted) await run(name, checks[name]!, leftOut)
  console.log(leftOut.length === 0 ? 'none was left out' : `left out: ${leftOut.join(', ')}`)
}

async function run (name: string, check: Check, leftOut: string[]): Promise<void> {
  const attempts: string[] = []
  const target = createServer((request, response) => {
    attempts.push(`${request.url} ${request.headers['x-cloudtasks-taskname'] ?? request.headers['x-appengine-taskname']}`)
    response.end()
  })
  await new Promise<void>(resolve => { target.listen(0, '127.0.0.1', resolve) })
  const targetUrl = `http://127.0.0.1:${(target.address() as AddressInfo).port}`
  const logged: string[] = []
  const warn = (fields: object, message: string): void => { logged.push(message) }
  const emulator = createEmulator({ port: 0, appEngineUrl: targetUrl, logger: { info () {}, warn, error: warn } })
  await emulator.listen()
  const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-clients-'))
  const downloads = process.env.CLIENTS_CACHE === undefined ? join(folder, 'downloads') : resolve(process.env.CLIENTS_CACHE)
  const place: Place = { emulator, targetUrl, attempts, folder, downloads, say: step => { console.log(`ok ${name}: ${step}`) } }
  try {
    await check(place)
    const dropped = logged.filter(line => line.includes('does not know'))
    if (dropped.length > 0) throw new Error(dropped.join('\n'))
  } catch (error) {
    if (error instanceof Missing) {
      leftOut.push(name)
      console.log(`skipped ${name}: ${error.message}`)
    } else {
      console.error(`FAILED ${name}: ${error instanceof Error ? error.message : String(error)}`)
      process.exitCode = 1
    }
  } finally {
    await emulator.close()
    target.closeAllConnections()
    target.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
