import { cpSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { readFile } from 'node:fs/promises'
import { Missing, arrival, prepare, program, steps, type Check } from './check.js'

/** google-cloud-tasks over gRPC and HTTP-JSON, and the client that Google generates from the discovery document. */
export const java: Check = async place => {
  if ((await program('java', ['-version'])).code !== 0) throw new Missing('Java is not installed: a JDK 17 or later is needed')
  if ((await program('mvn', ['-version'])).code !== 0) throw new Missing('Maven is not installed: https://maven.apache.org/install.html')
  const project = join(place.folder, 'java')
  const classpath = join(place.folder, 'classpath')
  cpSync(join(import.meta.dirname, 'java'), project, { recursive: true })
  await prepare(
    'Maven could not download or build it',
    'mvn',
    [
      '--batch-mode',
      '--quiet',
      `-Dmaven.repo.local=${join(place.downloads, 'maven')}`,
      'compile',
      'dependency:build-classpath',
      `-Dmdep.outputFile=${classpath}`
    ],
    { cwd: project }
  )
  await steps(place, 'java', ['-cp', [join(project, 'target/classes'), await readFile(classpath, 'utf8')].join(delimiter), 'Main'])
  for (const name of ['java-grpc', 'java-http-json', 'java-discovery']) await arrival(place, `/java/${name} run`)
}
