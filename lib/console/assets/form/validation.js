import { useEffect, useState } from '../htm-preact.js'
import { post } from '../data/server.js'

/**
 * Validates a payload on the server, debounced.
 *
 * @returns {{ state: 'checking' | 'known' | 'unknown', errors: { path: string, message: string }[] }} while checking, the previous errors
 */
export function useValidation (task, text) {
  const [validation, setValidation] = useState({ state: 'checking', errors: [] })
  useEffect(() => {
    let current = true
    setValidation(({ errors }) => ({ state: 'checking', errors }))
    const timer = setTimeout(async () => {
      const next = await post('validate', { task, text }).then(
        ({ errors }) => ({ state: 'known', errors }),
        () => ({ state: 'unknown', errors: [] })
      )
      if (current) setValidation(next)
    }, PAUSE_MS)
    return () => {
      current = false
      clearTimeout(timer)
    }
  }, [task, text])
  return validation
}

const PAUSE_MS = 200
