import { spawn, spawnSync, execFileSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A server of a peer, on a free port of 127.0.0.1, with a data directory that goes when it ends. */
export interface Server {
  readonly port: number
  /** For the page of figures. */
  readonly version: string
  close (): Promise<void>
}

/** Undefined where Redis is not installed. */
export async function startRedis (fsync: 'always' | 'everysec'): Promise<Server | undefined> {
  const version = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  if (version.error !== undefined) return undefined
  const directory = mkdtempSync(join(tmpdir(), 'bench-redis-'))
  const port = await freePort()
  const child = spawn('redis-server', [
    '--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--appendonly', 'yes', '--appendfsync', fsync, '--save', ''
  ], { stdio: 'ignore' })
  return await running(child, port, 'SIGTERM', directory, `Redis ${/v=(\S+)/.exec(version.stdout)?.[1] ?? ''}`)
}

/** Undefined where PostgreSQL is not installed. As root it runs as the user `postgres`, because it refuses to be root. */
export async function startPostgres (): Promise<Server | undefined> {
  const programs = postgresPrograms()
  if (programs === undefined) return undefined
  const user = process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {}
  const directory = mkdtempSync(join(tmpdir(), 'bench-postgres-'))
  if (user.uid !== undefined) chownSync(directory, user.uid, user.gid)
  execFileSync(join(programs, 'initdb'), ['-D', directory, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'], {
    ...user,
    cwd: directory,
    stdio: 'ignore'
  })
  const port = await freePort()
  const child = spawn(
    join(programs, 'postgres'),
    [
      '-D',
      directory,
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-c',
      'unix_socket_directories=',
      '-c',
      'fsync=on',
      '-c',
      'synchronous_commit=on'
    ],
    { ...user, cwd: directory, stdio: 'ignore' }
  )
  const version = execFileSync(join(programs, 'postgres'), ['--version'], { encoding: 'utf8', cwd: directory })
  // SIGINT: it ends its clients' sessions instead of waiting for them.
  return await running(child, port, 'SIGINT', directory, `PostgreSQL ${/\d+(\.\d+)?/.exec(version)?.[0] ?? ''}`)
}

async function running (child: ChildProcess, port: number, signal: NodeJS.Signals, directory: string, version: string): Promise<Server> {
  const exited = once(child, 'exit')
  const server: Server = {
    port,
    version,
    async close () {
      child.kill(signal)
      await exited
      rmSync(directory, { recursive: true, force: true })
    }
  }
  for (let tries = 0; child.exitCode === null && tries < 300; tries++) {
    if (await answers(port)) return server
    await sleep(50)
  }
  await server.close()
  throw new Error(`${version} did not start`)
}

async function answers (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Debian keeps them out of the PATH, by version. */
function postgresPrograms (): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [...versions.map(version => join(debian, version, 'bin')), ...(process.env.PATH ?? '').split(':')]
  return folders.find(folder => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')))
}

function idOf (which: '-u' | '-g'): number {
  return Number(execFileSync('id', [which, 'postgres'], { encoding: 'utf8' }))
}
