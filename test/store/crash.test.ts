import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openLog, wholeLines } from '../support/kill-log.js'
import { crash } from './crash.js'

const seed = Date.now() % 1_000_000_000

t.test('a process that is killed at any moment loses nothing that it has acknowledged', async t => {
  const report = await crash({ kills: 10, seed, mode: 'load' })
  t.comment({ seed, ...report })
  t.match(report, { lost: 0, lostIds: [], cameBack: 0, forgotten: 0, faults: [], kills: 10 })
  t.ok(report.acknowledged > 300, `${report.acknowledged} were acknowledged`)
  t.ok(report.retries > 20, `${report.retries} failed attempts were stored`)
})

t.test('this test sees when a store acknowledges before it has written', async t => {
  // A kill must hit while something is being written; most times one of three does.
  for (let round = 0, lost = 0; lost === 0 && round < 8; round++) {
    const report = await crash({ kills: 3, seed: seed + round, mode: 'hasty' })
    t.comment({ seed: seed + round, ...report })
    lost = report.lost
    if (lost > 0 || round === 7) t.ok(lost > 0, `${lost} of ${report.acknowledged} were lost`)
  }
})

t.test('a line that a kill has cut is not taken for another one', async t => {
  const log = join(t.testdir({}), 'log')
  openLog(log)('ack 5001')
  appendFileSync(log, 'ack 50')
  openLog(log)('open 3')
  t.strictSame(wholeLines(readFileSync(log, 'latin1')), ['ack 5001', 'open 3'])
})
