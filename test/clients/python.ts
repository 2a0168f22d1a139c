import { join } from 'node:path'
import { Missing, arrival, prepare, program, steps, type Check, type Place } from './check.js'

/** Google's present client over gRPC and REST, v2 and v2beta3, and the calls of its published samples. */
export const python: Check = async place => {
  const interpreter = await virtualenv(place, ['google-cloud-tasks', 'requests'])
  await steps(place, interpreter, [script('current.py')])
  for (const name of ['v2-grpc', 'v2-rest', 'v2beta3-grpc', 'v2beta3-rest']) await arrival(place, `/python/${name} run`)
  await steps(place, interpreter, [script('samples.py')])
  await arrival(place, '/python/sample my-unique-task')
}

/** The release that articles and older projects use. It does not know newer dependencies, so those are pinned to its time. */
export const python152: Check = async place => {
  const interpreter = await virtualenv(place, RELEASE_1_5_2)
  await steps(place, interpreter, ['-W', 'ignore', script('release_1_5_2.py')])
  for (const version of ['v2', 'v2beta3']) await arrival(place, `/python/1.5.2-${version} run`)
}

export const pythonFirebase: Check = async place => {
  const interpreter = await virtualenv(place, ['firebase-admin'])
  await place.emulator.engine.createQueue('projects/demo/locations/us-central1/queues/python-firebase')
  await steps(place, interpreter, [script('firebase.py')], { env: { ...process.env, CLOUD_TASKS_EMULATOR_HOST: place.emulator.address } })
  await arrival(place, '/firebase/python order-43')
}

export const RELEASE_1_5_2 = [
  'google-cloud-tasks==1.5.2',
  'google-api-core[grpc]==1.34.1',
  'protobuf==3.20.3',
  'googleapis-common-protos<1.60',
  'setuptools<81'
]

/** An interpreter with packages from PyPI, in the check's folder. PYTHON names the interpreter that it is made with. */
export async function virtualenv ({ folder, downloads }: Place, packages: readonly string[]): Promise<string> {
  const base = process.env.PYTHON ?? 'python3'
  if ((await program(base, ['--version'])).code !== 0) throw new Missing('Python is not installed: https://www.python.org/downloads')
  const environment = join(folder, 'venv')
  await prepare('no virtual environment could be made (python3-venv)', base, ['-m', 'venv', environment])
  const interpreter = join(environment, 'bin/python')
  await prepare('pip could not install the client', interpreter, [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--cache-dir',
    join(downloads, 'pip'),
    ...packages
  ])
  return interpreter
}

function script (name: string): string {
  return join(import.meta.dirname, 'python', name)
}
