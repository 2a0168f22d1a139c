/** An id may hold no spaces. */
export function idOf (pointer) {
  return `field${encodeURIComponent(pointer)}`
}
