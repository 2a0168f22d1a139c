/** At most `length` characters of `text`, and a mark where it was cut. A copy, so that the long text is let go. */
export function cut (text: string, length: number): string {
  if (text.length <= length) return text
  // A string that is sliced keeps the whole one alive; one that was made from bytes does not.
  return `${Buffer.from(text.slice(0, length)).toString()}…`
}
