/**
 * This package beside other job queues: `npm run bench -- peers [ROUNDS] [JOBS] [NAMES]`, NAMES being a regular expression
 * for those to run. See peers/README.md for what is measured and what has to be installed; what is not installed is left out.
 * Writes peers/figures.svg when nothing is.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, median, percentile } from './measure.js'
import { barChart, type Panel } from './peers/chart.js'
import { startPostgres, startRedis, type Server } from './peers/servers.js'

interface Contender {
  readonly needs?: 'redis-always' | 'redis-everysec' | 'postgres'
  readonly package?: string
  /** Where the number of the others would take minutes. */
  readonly jobs?: number
}

/** What a contender measured in one round: jobs a second, and milliseconds. */
interface Round {
  readonly add64: number
  readonly add1: number
  readonly drain: number
  readonly throughput: number
  readonly latencies: number[]
}

type Measure = 'add64' | 'add1' | 'throughput' | 'drain' | 'p50' | 'p99'

const OWN = 'fastify-cloud-tasks'
const RIVAL = 'BullMQ, Redis fsync always'
const SECOND = 'graphile-worker'
const AIMS: Readonly<Partial<Record<Measure, number>>> = { add64: 2.5, add1: 1.8, throughput: 3, drain: 2 }
const SECOND_AIMS: typeof AIMS = { drain: 1 }
const LATENCY_AIM_MS = 0.5
const TITLES: Readonly<Record<Measure, string>> = {
  add64: 'add, 64 waiting, jobs/s',
  add1: 'add, one waiting, jobs/s',
  throughput: 'add to handler done, 64 at a time, jobs/s',
  drain: 'working off a backlog, jobs/s',
  p50: 'idle, add to handler start, p50 in ms',
  p99: 'idle, add to handler start, p99 in ms'
}

const here = join(import.meta.dirname, 'peers')
const root = join(import.meta.dirname, '../..')
const [rounds = 5, jobs = 20_000] = process.argv.slice(3, 5).map(Number)
const only = new RegExp(process.argv[5] ?? '')
const { contenders } = await import(join(here, 'contenders.js')) as { contenders: Readonly<Record<string, Contender>> }
const servers = new Map<Contender['needs'], Server>()
const folder = await mkdtemp(join(tmpdir(), 'bench-peers-'))
const cache = join(root, 'node_modules/.cache')
await mkdir(cache, { recursive: true })
const build = await mkdtemp(join(cache, 'bench-peers-'))

try {
  // Compiled, so that no loader of TypeScript stands between; apart from dist, which others may be building.
  compile(build)
  await startServers()
  await compare(Object.entries(contenders).filter(([name, contender]) => only.test(name) && isInstalled(name, contender)))
} finally {
  for (const server of servers.values()) await server.close()
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
}

async function startServers (): Promise<void> {
  const start = { 'redis-always': () => startRedis('always'), 'redis-everysec': () => startRedis('everysec'), postgres: startPostgres }
  for (const [needs, starting] of Object.entries(start)) {
    const server = await starting()
    if (server !== undefined) servers.set(needs as Contender['needs'], server)
  }
}

function isInstalled (name: string, { package: module, needs }: Contender): boolean {
  const missing = module !== undefined && !existsSync(join(here, 'node_modules', module))
    ? 'npm ci --prefix test/bench/peers'
    : needs !== undefined && !servers.has(needs) ? `apt-get install ${needs === 'postgres' ? 'postgresql' : 'redis-server'}` : undefined
  if (missing !== undefined) console.log(`${name}: left out, not installed (${missing})`)
  return missing === undefined
}

async function compare (present: Array<[string, Contender]>): Promise<void> {
  const results = new Map<string, Round[]>(present.map(([name]) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    // Forwards and backwards in turn, so that no queue is always next to the same one.
    for (const [name, contender] of round % 2 === 0 ? present : present.toReversed()) {
      const result = await measure(name, contender)
      if (result === undefined) results.delete(name)
      else results.get(name)?.push(result)
    }
    console.log(`round ${round + 1} of ${rounds} done`)
  }
  report(results)
  if (results.size === Object.keys(contenders).length) await writeFile(join(here, 'figures.svg'), draw(results))
}

/** One round of one contender, in a process of its own. Undefined when it failed. */
async function measure (contender: string, { needs, jobs: own }: Contender): Promise<Round | undefined> {
  const task = {
    contender,
    folder,
    port: servers.get(needs)?.port,
    build: join(build, 'index.js'),
    jobs: own === undefined ? jobs : Math.min(own, jobs)
  }
  const child = fork(join(here, 'run.js'), [JSON.stringify(task)], { execArgv: [] })
  const exited = once(child, 'exit')
  const result = await Promise.race([once(child, 'message'), exited.then(() => [undefined])]) as [Round | undefined]
  await exited
  if (result[0] === undefined) console.log(`${contender}: left out, its process ended with code ${child.exitCode}`)
  return result[0]
}

function report (results: ReadonlyMap<string, readonly Round[]>): void {
  console.log(
    `\nmedians of ${rounds} rounds of ${jobs} jobs of 200 bytes; ${[...new Set([...servers.values()].map(server => server.version))].join(', ')}, ` +
      `Node ${process.versions.node}, ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'})\n`
  )
  const measures = Object.keys(TITLES) as Measure[]
  const lines = [
    ['', ...measures],
    ...[...results].map(([name, of]) => [name, ...measures.map(measure => print(measure, value(of, measure)))])
  ]
  for (const [name, ...cells] of lines) console.log(name!.padEnd(32) + cells.map(cell => cell.padStart(12)).join(''))
  for (const measure of measures) console.log(`  ${measure.padEnd(10)} ${TITLES[measure]}`)

  const own = results.get(OWN)
  if (own === undefined) return
  reportRatios(own, RIVAL, results.get(RIVAL), AIMS)
  reportRatios(own, SECOND, results.get(SECOND), SECOND_AIMS)
  const p50 = value(own, 'p50')
  console.log(`  ${TITLES.p50.padEnd(44)} ${p50.toFixed(3)} ms, aim ${LATENCY_AIM_MS}: ${p50 <= LATENCY_AIM_MS ? 'met' : 'MISSED'}`)
}

function reportRatios (own: readonly Round[], name: string, rival: readonly Round[] | undefined, aims: typeof AIMS): void {
  if (rival === undefined) return
  console.log(`\n${OWN} against ${name}, medians of the rounds' ratios`)
  for (const [measure, aim] of Object.entries(aims) as Array<['add64' | 'add1' | 'throughput' | 'drain', number]>) {
    const ratio = median(own.map((round, index) => round[measure] / rival[index]![measure]))
    console.log(`  ${TITLES[measure].padEnd(44)} ${ratio.toFixed(2)}, aim ${aim}: ${ratio >= aim ? 'met' : 'MISSED'}`)
  }
}

function value (of: readonly Round[], measure: Measure): number {
  if (measure !== 'p50' && measure !== 'p99') return median(of.map(round => round[measure]))
  return percentile(of.flatMap(round => round.latencies), measure === 'p50' ? 50 : 99)
}

function print (measure: Measure, value: number): string {
  return measure === 'p50' || measure === 'p99' ? `${value.toFixed(2)} ms` : `${Math.round(value).toLocaleString('en')}/s`
}

function draw (results: ReadonlyMap<string, readonly Round[]>): string {
  const panels = (['add64', 'add1', 'throughput', 'p50'] as const).map((measure): Panel => ({
    title: TITLES[measure],
    ...(measure === 'p50' ? { lessIsBetter: true } : {}),
    bars: [...results].map(([label, of]) => ({ label, value: value(of, measure), text: print(measure, value(of, measure)) }))
  }))
  return barChart(
    panels,
    `${jobs.toLocaleString('en')} jobs of 200 bytes, no-op handler, durable, medians of ${rounds} rounds on ${availableParallelism()} cores`
  )
}
