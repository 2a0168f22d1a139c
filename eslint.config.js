import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, env: ['browser'], ignores: ['dist', '.tap'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 139 }] } },
  // Expected values and programs in tests are not split.
  {
    files: ['test/**'],
    rules: {
      '@stylistic/max-len': ['error', { code: 139, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }]
    }
  },
  // @ts-expect-error applies to the next line only.
  { files: ['test/types/**'], rules: { '@stylistic/max-len': 'off' } }
]
