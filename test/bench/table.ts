/**
 * The figures of the embedded queue beside their aims, in about eight minutes of a quiet machine: `npm run bench -- table [NAMES]`,
 * NAMES being a regular expression for the benchmarks to run. Each is the benchmark of that name, one after the other.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

interface Figure {
  readonly what: string
  readonly aim: string
  /** Finds the figure in what its benchmark prints; every match is one. */
  readonly pattern: RegExp
}

interface Run {
  readonly name: string
  readonly args: readonly string[]
  readonly figures: readonly Figure[]
}

const RUNS: readonly Run[] = [
  {
    name: 'peers',
    args: ['3', '20000', '^fastify|always|graphile'],
    figures: [
      { what: 'add to handler done, over BullMQ always', aim: '3', pattern: /add to handler done.* (\d\S*), aim 3/ },
      { what: 'working off a backlog, over BullMQ always', aim: '2', pattern: /backlog.* (\d\S*), aim 2/ },
      { what: 'working off a backlog, over graphile-worker', aim: '1', pattern: /backlog.* (\d\S*), aim 1/ },
      { what: 'add with 64 waiting, over BullMQ always', aim: '2.5', pattern: /64 waiting.* (\d\S*), aim 2.5/ },
      { what: 'add with one waiting, over BullMQ always', aim: '1.8', pattern: /one waiting.* (\d\S*), aim 1.8/ },
      { what: 'idle, durable, enqueue to handler start, p50', aim: '0.5 ms', pattern: /handler start.* (\d\S* ms), aim 0.5/ }
    ]
  },
  {
    name: 'bulk',
    args: [],
    figures: [{ what: 'enqueueMany of 1,000, durable, over single calls, 64 waiting', aim: '2.5', pattern: /over single calls +(.*)/ }]
  },
  {
    name: 'embedded',
    args: [],
    figures: [{ what: 'in memory, enqueue to handler done, over app.inject, 1 and 64', aim: '2', pattern: /done .*, (\S+) of app.inject/ }]
  },
  { name: 'boot', args: ['15'], figures: [{ what: 'boot: added', aim: '20 ms, 4 MB', pattern: /the plugin +(\S+ ms, \S+ MB) res/ }] },
  {
    name: 'console',
    args: ['20000', '7', '1000'],
    figures: [{ what: 'console registered, CPU a task', aim: '1.05', pattern: /^ +with +.*, CPU (\S+)$/m }]
  },
  {
    name: 'million',
    args: [],
    figures: [
      { what: 'million: enqueue over empty, by the clock', aim: '1.2', pattern: /pending: (\S+) times the time/ },
      { what: 'million: enqueue over empty, by CPU time', aim: '1.2', pattern: /CPU of each: .* us: (\S+) times/ },
      { what: 'million: longest pauses of the event loop', aim: '50 ms', pattern: /^ +(\S.*?):.*longest pause of the event loop (\d+ ms)/m }
    ]
  }
]

const only = new RegExp(process.argv[3] ?? '')
const startedAt = performance.now()
const lines: string[] = []
for (const { name, args, figures } of RUNS) {
  if (!only.test(name)) continue
  const output = await run(name, args)
  for (const { what, aim, pattern } of figures) {
    const found = [...output.matchAll(new RegExp(pattern, `${pattern.flags}g`))].map(match => match.slice(1).join(' ') || match[0].trim())
    lines.push(`${what.padEnd(64)} ${aim.padEnd(12)} ${found.join('; ') || 'not measured'}`)
  }
}
console.log(`\n${'figure'.padEnd(64)} ${'aim'.padEnd(12)} measured, in ${((performance.now() - startedAt) / 60_000).toFixed(1)} minutes`)
for (const line of lines) console.log(line)

/** Passes on what the benchmark prints, and resolves with it. */
async function run (name: string, args: readonly string[]): Promise<string> {
  console.log(`\n${name} ${args.join(' ')}`)
  const child = spawn(process.execPath, [...process.execArgv, join(import.meta.dirname, 'main.ts'), name, ...args], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    process.stdout.write(text)
  })
  await once(child, 'close')
  if (child.exitCode !== 0) console.log(`${name} ended with code ${child.exitCode}`)
  return output
}
