import t from 'tap'
import { folder } from '../support/folder.js'
import { killAndCheck, transpileChild } from './kill.js'

// `npm run bench -- dead-letters` kills between each two steps, hundreds of times, also workers of an emulator.
t.test('a process that is killed while it keeps, postpones and replays tasks loses and doubles none of them', async t => {
  const kills = ['after:letter:3', 'after:successor:3', 'after:replay:1']
  const report = await killAndCheck({ place: 'embedded', kills }, await transpileChild(await folder(t)))
  t.comment(report)
  t.strictSame(report.faults, [])
  t.equal(report.atSteps, 3)
  t.ok(report.tasks > 5 && report.letters > 2 && report.postponements > 0, 'enough has happened')
})
