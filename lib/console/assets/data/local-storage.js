/** A setting in the browser's local storage; null if there is none. */
export function readSetting (key) {
  try {
    return localStorage.getItem(`console-${key}`)
  } catch {
    return null
  }
}

/** Without local storage, the setting is lost when the page is closed. */
export function saveSetting (key, value) {
  try {
    localStorage.setItem(`console-${key}`, value)
  } catch {
    // May be unavailable in private windows.
  }
}
