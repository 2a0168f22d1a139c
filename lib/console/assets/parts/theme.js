import { saveSetting, readSetting } from '../data/local-storage.js'
import { Observable } from '../data/observable.js'

/** `system`, `light` or `dark`. */
export const theme = new Observable(known(readSetting('theme')))

const system = matchMedia('(prefers-color-scheme: dark)')

/** Whether the system prefers dark, which can change over time. */
export const systemIsDark = new Observable(system.matches)

system.addEventListener('change', () => { systemIsDark.set(system.matches) })

theme.subscribe(() => {
  saveSetting('theme', theme.value)
  if (theme.value === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme.value
})

/** Toggles between light and dark. */
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
