import { join } from 'node:path'
import { Missing, arrival, program, steps, type Check } from './check.js'

/** PYTHON names the interpreter, as of a virtual environment. */
export const python: Check = async place => {
  const interpreter = process.env.PYTHON ?? 'python3'
  const found = await program(interpreter, ['-c', 'import google.cloud.tasks_v2'])
  if (found.code !== 0) throw new Missing(`${interpreter} has no google-cloud-tasks: pip install google-cloud-tasks, and PYTHON=FILE for another interpreter`)
  await steps(place, interpreter, [join(import.meta.dirname, 'client.py')])
  for (const transport of ['grpc', 'rest']) await arrival(place, `/python/${transport} run`)
}
