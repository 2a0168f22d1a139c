import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { root } from './compiler.js'

const run = promisify(execFile)

/** The package's own. */
export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string
  version: string
  exports: Record<string, string | Record<string, string | Record<string, string>>>
  bin?: Record<string, string>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}

/** Builds and packs a copy of the checkout, in `folder`. Resolves with the path of the tarball. */
export async function pack (folder: string): Promise<string> {
  const checkout = join(folder, 'checkout')
  const left = new Set(['node_modules', 'dist', '.git', '.tap'])
  cpSync(root, checkout, { recursive: true, filter: source => !left.has(basename(source)) })
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
  await alone('npm', ['pack', '--pack-destination', folder, '--no-update-notifier', '--logs-max=0', '--offline'], checkout)
    .catch((error: { stdout: string, stderr: string }) => { throw new Error(`npm pack failed: ${error.stdout}${error.stderr}`) })
  return join(folder, `${manifest.name}-${manifest.version}.tgz`)
}

/** Makes an app with the package unpacked in it as npm would; beside it lies what it declares and `wanted` wants, nothing else. */
export function install (tarball: string, app: string, wanted: (dependency: string) => boolean = () => true): void {
  const modules = join(app, 'node_modules')
  const installed = join(modules, manifest.name)
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed])
  for (const [name, file] of Object.entries(manifest.bin ?? {})) {
    mkdirSync(join(modules, '.bin'), { recursive: true })
    symlinkSync(join('..', manifest.name, file), join(modules, '.bin', name))
    chmodSync(join(installed, file), 0o755)
  }
  const dependencies = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies), '@types/node']
  for (const dependency of dependencies.filter(wanted)) {
    mkdirSync(dirname(join(modules, dependency)), { recursive: true })
    symlinkSync(join(root, 'node_modules', dependency), join(modules, dependency))
  }
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }')
}

/**
 * Runs a program without the loaders of the test runner, which would do for the package what it must do by itself. The runner
 * puts them into the environment of every child, so that only the child can take them out.
 */
export async function alone (program: string, args: readonly string[], cwd: string): Promise<{ stdout: string }> {
  return await run('env', ['-u', 'NODE_OPTIONS', program, ...args], { cwd })
}
