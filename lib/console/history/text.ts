/** Truncates `text` to `length` characters and appends an ellipsis. Copies it, so that the long text can be collected. */
export function cut (text: string, length: number): string {
  if (text.length <= length) return text
  // A slice retains the whole string; one that is decoded from bytes does not.
  return `${Buffer.from(text.slice(0, length)).toString()}…`
}
