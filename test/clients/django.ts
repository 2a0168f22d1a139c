import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { createEmulator } from '../../lib/emulator/index.js'
import { prepare, type Check, type Place } from './check.js'
import { RELEASE_1_5_2, virtualenv } from './python.js'
import { freePort } from '../support/free-port.js'

/**
 * A Django project as on App Engine: a view that answers at once and sends a task, and the view that handles it. Its settings
 * are those that `django-admin startproject` makes.
 */
export const django: Check = async place => {
  for (const [name, packages] of [
    ['google-cloud-tasks 1.5.2', RELEASE_1_5_2],
    ['google-cloud-tasks 2', ['google-cloud-tasks']]
  ] as const) {
    const folder = join(place.folder, name.replaceAll(' ', '-'))
    await project({ ...place, folder }, name, packages)
  }
}

async function project (place: Place, name: string, packages: readonly string[]): Promise<void> {
  const interpreter = await virtualenv(place, ['django', ...packages])
  await prepare('the project could not be made', interpreter, ['-m', 'django', 'startproject', 'shop'], { cwd: place.folder })
  const directory = join(place.folder, 'shop')
  cpSync(join(import.meta.dirname, 'django'), directory, { recursive: true })

  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  for (const appEngineHost of ['service', 'url'] as const) {
    const logged: string[] = []
    const warn = (fields: object, message: string): void => { logged.push(message) }
    const emulator = createEmulator({
      port: 0,
      queues: ['projects/demo/locations/us-central1/queues/default'],
      appEngineUrl: url,
      appEngineHost,
      logger: { info () {}, warn, error: warn }
    })
    await emulator.listen()
    const environment = {
      ...process.env,
      CLOUD_TASKS_EMULATOR_HOST: emulator.address,
      GOOGLE_CLOUD_PROJECT: 'demo',
      CLOUD_TASKS_LOCATION: 'us-central1'
    }
    const server = spawn(interpreter, ['-W', 'ignore', 'manage.py', 'runserver', '--noreload', `127.0.0.1:${port}`], {
      cwd: directory,
      env: environment,
      stdio: 'ignore'
    })
    try {
      await until(`${name}: the server did not start`, async () => (await fetch(`${url}/receipts/`)).ok)
      if (appEngineHost === 'url') await handled(place, name, url)
      else await refused(place, name, url, logged)
    } finally {
      server.kill()
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
      await emulator.close()
    }
  }
}

/** With production's host Django answers 400 to every task, and the emulator says why. */
async function refused (place: Place, name: string, url: string, logged: readonly string[]): Promise<void> {
  await fetch(`${url}/orders/1/`, { method: 'POST' })
  await until(`${name}: no hint was logged`, async () =>
    logged.some(line => line.includes('answered 400') && line.includes('--app-engine-host url'))
  )
  place.say(`${name}: without --app-engine-host url the log says what to do`)
}

async function handled (place: Place, name: string, url: string): Promise<void> {
  const started = performance.now()
  const answer = await fetch(`${url}/orders/42/`, { method: 'POST' })
  const milliseconds = performance.now() - started
  const { task } = await answer.json() as { task: string }
  if (answer.status !== 202 || !task.endsWith('/tasks/receipt-42')) throw new Error(`${name}: the view answered ${answer.status} ${task}`)
  // The handler takes a second.
  const before = await receiptsOf(url)
  if (before.length > 0) throw new Error(`${name}: the answer came after the task was handled`)
  place.say(`${name}: the view answers 202 before the task is handled (${Math.round(milliseconds)} ms)`)

  await until(`${name}: the task was not handled`, async () => (await receiptsOf(url)).length === 1)
  const [receipt] = await receiptsOf(url)
  if (JSON.stringify(receipt) !== '{"order":42,"queue":"default","task":"receipt-42"}') {
    throw new Error(`${name}: ${JSON.stringify(receipt)}`)
  }
  place.say(`${name}: the task is handled`)

  const again = await (await fetch(`${url}/orders/42/`, { method: 'POST' })).json() as { duplicate?: boolean }
  if (again.duplicate !== true) throw new Error(`${name}: a second task of the name was accepted`)
  await fetch(`${url}/orders/43/?delay=2`, { method: 'POST' })
  await until(`${name}: the scheduled task was not handled`, async () => (await receiptsOf(url)).length === 2)
  place.say(`${name}: a name is taken once, and a scheduled task is handled`)
}

async function receiptsOf (url: string): Promise<object[]> {
  return (await (await fetch(`${url}/receipts/`)).json() as { receipts: object[] }).receipts
}

/** Asks for half a minute at most, and takes a refused connection for no. */
async function until (problem: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await holds().catch(() => false));) {
    if (Date.now() > end) throw new Error(problem)
    await new Promise(resolve => { setTimeout(resolve, 50) })
  }
}
