/** A value that the browser keeps for this page; null where there is none. */
export function recall (key) {
  try {
    return localStorage.getItem(`console-${key}`)
  } catch {
    return null
  }
}

/** Where the browser stores nothing, the value is lost when the page is closed. */
export function keep (key, value) {
  try {
    localStorage.setItem(`console-${key}`, value)
  } catch {
    // Private windows may refuse.
  }
}
