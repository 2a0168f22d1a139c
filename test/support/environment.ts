import type { Test } from 'tap'

/** Sets variables of the environment until the end of the test; undefined unsets one. */
export function environment (t: Test, variables: Readonly<Record<string, string | undefined>>): void {
  const put = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  for (const [name, value] of Object.entries(variables)) {
    const before = process.env[name]
    put(name, value)
    t.teardown(() => { put(name, before) })
  }
}
