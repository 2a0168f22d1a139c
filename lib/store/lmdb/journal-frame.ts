import { crc32 } from 'node:zlib'
import type { Row, Table } from './record-format.js'

/**
 * The format of a journal: one frame per commit, aligned to 4096 bytes, so that a frame that is torn by a power failure never shares a
 * sector with another. Numbers are little-endian.
 *
 *   file    the first 4096 bytes: magic u32, version u32, salt u32, run f64, size f64, part u32, checksum u32 of those
 *   frame   magic u32, checksum u32 of what follows, sequence f64, length of its rows u32, rows
 *   row     table u8 (+ 16 for a removal), key (f64; for queues: length u16, text), length of value u32, value
 *
 * Checksums are salted with a random number per file, so that a payload cannot imitate a frame.
 */

/** A commit in a journal. */
export interface Frame {
  /** Sequence number of the commit, without gaps. */
  readonly sequence: number
  readonly rows: readonly Row[]
}

export interface FileHead {
  readonly salt: number
  /** Number of the run that wrote the file. */
  readonly run: number
  /** Minimum size of the file in bytes; a smaller one was truncated. */
  readonly size: number
  /** Number of the file within its run, which has two. */
  readonly part: 1 | 2
}

/** The unit that disks or file systems write atomically. */
export const SECTOR = 4096

export function encodeFileHead ({ salt, run, size, part }: FileHead): Buffer {
  const head = Buffer.alloc(SECTOR)
  head.writeUInt32LE(FILE_MAGIC, 0)
  head.writeUInt32LE(VERSION, 4)
  head.writeUInt32LE(salt, 8)
  head.writeDoubleLE(run, 12)
  head.writeDoubleLE(size, 20)
  head.writeUInt32LE(part, 28)
  head.writeUInt32LE(crc32(head.subarray(0, 32)), 32)
  return head
}

/** Undefined if the file does not start with a valid header of this version. */
export function decodeFileHead (file: Buffer): FileHead | undefined {
  const isSound = file.length >= SECTOR && file.readUInt32LE(0) === FILE_MAGIC && file.readUInt32LE(4) === VERSION &&
    file.readUInt32LE(32) === crc32(file.subarray(0, 32))
  if (!isSound) return undefined
  return { salt: file.readUInt32LE(8), run: file.readDoubleLE(12), size: file.readDoubleLE(20), part: file.readUInt32LE(28) as 1 | 2 }
}

/** A frame, padded with zeros to `pad(size)` bytes. */
export function encodeFrame (sequence: number, rows: readonly Row[], salt: number, pad: (size: number) => number): Buffer {
  let size = FRAME_HEAD
  for (const [, key, value] of rows) size += ROW_HEAD + (typeof key === 'number' ? 8 : 2 + key.length) + (value?.length ?? 0)
  const buffer = Buffer.allocUnsafe(pad(size))
  let at = FRAME_HEAD
  for (const [table, key, value] of rows) {
    buffer[at++] = TABLES.indexOf(table) + (value === undefined ? REMOVAL : 0)
    if (typeof key === 'number') {
      at = buffer.writeDoubleLE(key, at)
    } else {
      at = buffer.writeUInt16LE(key.length, at)
      at += buffer.write(key, at, 'latin1')
    }
    at = buffer.writeUInt32LE(value?.length ?? 0, at)
    if (value === undefined) continue
    buffer.set(value, at)
    at += value.length
  }
  buffer.fill(0, at)
  buffer.writeUInt32LE(FRAME_MAGIC, 0)
  buffer.writeDoubleLE(sequence, 8)
  buffer.writeUInt32LE(at - FRAME_HEAD, 16)
  buffer.writeUInt32LE(crc32(buffer.subarray(8, at), salt), 4)
  return buffer
}

/**
 * All valid frames of a file, in order. Invalid ones are skipped: frames that are torn by a crash, remains of an earlier use of the file,
 * or damage, which gaps in the sequence reveal.
 */
export function * decodeFile (file: Buffer, { salt }: Pick<FileHead, 'salt'>): Generator<Frame, void> {
  for (let at = SECTOR; at + FRAME_HEAD <= file.length;) {
    const size = soundSize(file, at, salt)
    if (size === undefined) {
      at += SECTOR
      continue
    }
    yield { sequence: file.readDoubleLE(at + 8), rows: decodeRows(file.subarray(at + FRAME_HEAD, at + size)) }
    at += wholeSectors(size)
  }
}

export function wholeSectors (size: number): number {
  return Math.ceil(size / SECTOR) * SECTOR
}

function soundSize (file: Buffer, at: number, salt: number): number | undefined {
  if (file.readUInt32LE(at) !== FRAME_MAGIC) return undefined
  const size = FRAME_HEAD + file.readUInt32LE(at + 16)
  if (at + size > file.length) return undefined
  return crc32(file.subarray(at + 8, at + size), salt) === file.readUInt32LE(at + 4) ? size : undefined
}

function decodeRows (bytes: Buffer): Row[] {
  const rows: Row[] = []
  for (let at = 0; at < bytes.length;) {
    const kind = bytes[at++]!
    const table = TABLES[kind & ~REMOVAL]!
    let key: string | number
    if (table === 'queues') {
      const length = bytes.readUInt16LE(at)
      key = bytes.toString('latin1', at + 2, at + 2 + length)
      at += 2 + length
    } else {
      key = bytes.readDoubleLE(at)
      at += 8
    }
    const length = bytes.readUInt32LE(at)
    at += 4
    rows.push([table, key, (kind & REMOVAL) === 0 ? bytes.subarray(at, at + length) : undefined])
    at += length
  }
  return rows
}

const VERSION = 2
const FILE_MAGIC = 0x4a544346
const FRAME_MAGIC = 0x4d524643
const FRAME_HEAD = 20
/** Overhead of each row in addition to its key and value. */
const ROW_HEAD = 5
const REMOVAL = 16
const TABLES: readonly Table[] = ['queues', 'tasks', 'states', 'names']
