import { openSync, writeSync } from 'node:fs'

/**
 * A log that several processes append to, one after the other, each of which may be killed at any moment. The system keeps what was
 * written before a kill, except that Linux, once in some hundred kills, cuts a write short where a page of the file ends: a line that was
 * cut has no end, and does not count.
 */
export function openLog (file: string): (line: string) => void {
  const log = openSync(file, 'a')
  // Ends a line that was cut.
  writeSync(log, '\n')
  return line => { writeSync(log, `${line}${END}\n`) }
}

/** The lines that were written whole. */
export function wholeLines (text: string): string[] {
  return text.split('\n').flatMap(line => line.endsWith(END) ? [line.slice(0, -END.length)] : [])
}

const END = ' .'
