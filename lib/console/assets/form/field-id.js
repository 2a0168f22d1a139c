/** Ids must not contain spaces. */
export function idOf (pointer) {
  return `field${encodeURIComponent(pointer)}`
}
