import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, env: ['browser'], ignores: ['dist', '.tap'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 139 }] } },
  // What a test compares with, and the programs that it runs, stand in one piece.
  {
    files: ['test/**'],
    rules: {
      '@stylistic/max-len': ['error', { code: 139, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }]
    }
  },
  // The compiler expects an error in the line below a comment.
  { files: ['test/types/**'], rules: { '@stylistic/max-len': 'off' } }
]
