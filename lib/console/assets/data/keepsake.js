/** What the browser keeps for this page; null where it keeps nothing. */
export function recall (key) {
  try {
    return localStorage.getItem(`console-${key}`)
  } catch {
    return null
  }
}

/** Where the browser keeps nothing, it holds until the page is closed. */
export function keep (key, value) {
  try {
    localStorage.setItem(`console-${key}`, value)
  } catch {
    // Private windows may refuse.
  }
}
