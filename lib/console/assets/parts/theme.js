import { keep, recall } from '../data/local-storage.js'
import { Store } from '../data/store.js'

/** `system`, `light` or `dark`. */
export const theme = new Store(known(recall('theme')))

const system = matchMedia('(prefers-color-scheme: dark)')

/** Whether the system asks for dark, which it may come to do at dusk. */
export const systemIsDark = new Store(system.matches)

system.addEventListener('change', () => { systemIsDark.set(system.matches) })

theme.subscribe(() => {
  keep('theme', theme.value)
  if (theme.value === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme.value
})

/** The other one of light and dark; from `system`, the one that is not shown. */
export function toggleTheme () {
  theme.set(isDark() ? 'light' : 'dark')
}

export function isDark () {
  if (theme.value !== 'system') return theme.value === 'dark'
  return systemIsDark.value
}

function known (value) {
  return value === 'dark' || value === 'light' ? value : 'system'
}
