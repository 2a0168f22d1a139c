import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import { watchAttempts } from '../../support/app.js'
import { browserApp, HOSTILE, type BrowserApp } from './app.js'
import { badge, browserTests } from './chromium.js'

const { skip, open } = browserTests(t)

let running: BrowserApp
t.before(async () => {
  running = await browserApp({ plugin: { deadLetterQueue: 'dead', queues: { slow: { retryConfig: { maxAttempts: 1 } } } } })
})
t.teardown(() => running.app.close())

t.test('letters are shown as text, selected, replayed, and discarded after two questions', { skip }, async t => {
  const attempts = watchAttempts(t)
  await running.enqueue('hostile', { text: HOSTILE }, { id: 'h' })
  for (const order of ['1', '2', '3']) await running.enqueue('flaky', { order }, { id: order })
  await attempts.ended(4)
  const page = await open(t, running.page)
  await page.getByRole('link', { name: 'Dead letters' }).click()
  const rows = page.getByRole('table', { name: 'Dead letters' }).locator('tbody').getByRole('row')
  await rows.nth(3).waitFor()
  const text = await rows.filter({ hasText: 'hostile' }).textContent()
  t.match(text, '<img src=x onerror')
  t.match(text, String.raw`\u202egnp.exe`)
  t.match(await rows.filter({ hasText: 'order 2' }).textContent(), /flaky.*E_NOT_READY.*order 2 is not ready/s)

  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 740 })
    t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= width, `it fits ${width} px`)
    t.same(await page.evaluate('axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))'), [], 'axe')
  }

  running.heal()
  await page.getByRole('checkbox', { name: /^Select flaky .*-2$/ }).check()
  await page.getByText('1 selected').waitFor()
  await page.getByRole('button', { name: 'Replay…' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Replay 1 dead letter?').waitFor()
  await dialog.getByRole('button', { name: 'Yes, replay it' }).click()
  await page.getByText('1 dead letter replayed.').waitFor()
  t.hasStrict((await attempts.ended(5))[4], { task: 'flaky', result: 'done' })
  await rows.nth(3).waitFor({ state: 'detached' })
  t.equal(await rows.count(), 3)

  await page.getByLabel('Task', { exact: true }).fill('flaky')
  await page.keyboard.press('Enter')
  await page.waitForURL(/task=flaky/)
  await page.getByText('All that match the filter').waitFor()
  await page.getByRole('button', { name: 'Discard…' }).click()
  await dialog.getByText('Discard 2 dead letters?').waitFor()
  await page.keyboard.press('Enter')
  await dialog.waitFor({ state: 'detached' })
  t.equal(await rows.count(), 2, 'Enter cancels')
  await page.getByRole('button', { name: 'Discard…' }).click()
  await dialog.getByRole('button', { name: 'Discard them…' }).click()
  await dialog.getByText('Really discard 2 dead letters?').waitFor()
  t.equal((await running.app.tasks.deadLetters.list()).letters.length, 3, 'nothing is gone yet')
  await dialog.getByRole('button', { name: 'Yes, discard 2' }).click()
  await page.getByText('2 dead letters discarded.').waitFor()
  await page.getByText('No dead letters.').waitFor()
  t.equal((await running.app.tasks.deadLetters.list()).letters.length, 1)
})

t.test('a postponed task shows when its copy runs and why, and so does a run', { skip }, async t => {
  const attempts = watchAttempts(t)
  await running.enqueue('greet', { name: 'away', times: 1 })
  await attempts.ended(1)
  const page = await open(t, `${running.page}#/tasks?state=postponed`)
  const row = page.getByRole('row', { name: /greet/ })
  await badge(row, 'Postponed').waitFor()
  await row.getByRole('link').first().click()
  await page.getByText(/A copy of the task runs in (?:59 min|1 h)\./).waitFor()
  await page.getByText('the guest is out', { exact: true }).waitFor()

  await page.goto(`${running.page}#/run?task=greet`)
  await page.getByRole('textbox', { name: 'As JSON' }).fill('{"name": "away", "times": 1}')
  await page.getByRole('button', { name: 'Run now' }).click()
  await page.getByText(/a copy would run at/).waitFor()
  await page.getByText('the guest is out', { exact: true }).waitFor()
})
