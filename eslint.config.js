import neostandard from 'neostandard'

/** Folders whose lines all end before 140 characters. */
const SHORT_LINES = ['lib/*.js', 'lib/checks.ts', 'lib/fastify-internals.ts', 'lib/plugin-handle.ts', 'lib/cli/**', 'lib/options/**']

export default [
  ...neostandard({ ts: true, env: ['browser'], ignores: ['dist', '.tap'] }),
  { files: SHORT_LINES, rules: { '@stylistic/max-len': ['error', { code: 139 }] } }
]
