import { readFileSync } from 'node:fs'
import t from 'tap'
import { browserApp, HOSTILE, type BrowserApp } from './app.js'
import { badge, browserTests } from './chromium.js'
import { startSdk } from '../../otel/sdk.js'

const { skip, open } = browserTests(t)

let running: BrowserApp
t.before(async () => { running = await browserApp() })
t.teardown(() => running.app.close())

t.test('a failing task shows log lines, stack and status of its attempt; run again it is done', { skip }, async t => {
  const page = await open(t, running.page)
  await page.getByText('No failing tasks.').waitFor()
  await running.enqueue('flaky', { order: 'A 42' })
  await page.getByRole('row', { name: /flaky/ }).getByRole('link').first().click()
  await page.getByText('failed 500').waitFor()
  await page.getByText('order A 42 is not ready').first().waitFor()
  await page.getByText('E_NOT_READY', { exact: true }).waitFor()
  await page.getByText('asking about order A 42').waitFor()
  await page.getByText('err, status, maxAttempts', { exact: true }).waitFor()
  t.notOk(await page.getByText('"stack": ').isVisible(), 'the stack in a log line is folded')
  await page.getByText('err, status, maxAttempts', { exact: true }).click()
  await page.getByText('"stack": ').waitFor()
  t.match(await page.getByRole('group', { name: 'Stack' }).textContent(), /flaky.*browser\/app\.ts/s)
  t.match(await page.locator('.payload pre').textContent(), '"A 42"')
  await page.getByText('Time and headers').click()
  await page.getByText('X-CloudTasks-TaskName', { exact: false }).first().waitFor()

  running.heal()
  await page.getByRole('button', { name: 'Run now' }).click()
  await page.getByText('done 204').waitFor()
  t.equal(await page.getByRole('button', { name: 'Run now' }).count(), 0)
  await page.getByRole('button', { name: /Attempt 1/ }).click()
  await page.getByText('order A 42 is not ready').first().waitFor()

  const before = page.url()
  await page.getByRole('button', { name: 'Enqueue again' }).click()
  await page.waitForURL(url => url.href !== before)
  await page.getByText('done 204').waitFor()
  await page.getByRole('button', { name: 'Edit and run' }).click()
  await page.getByLabel('order').waitFor()
  t.equal(await page.getByLabel('order').inputValue(), 'A 42')
})

t.test('a queue is paused and resumed, and purged only after two questions', { skip }, async t => {
  const page = await open(t, running.page)
  const row = page.getByRole('row', { name: /^default/ })
  await row.getByRole('button', { name: 'Pause queue default' }).click()
  await badge(row, 'Paused').waitFor()
  await running.enqueue('greet', { name: 'later', times: 1 }, { id: 'paused-1' })
  await running.enqueue('greet', { name: 'later', times: 1 }, { id: 'paused-2' })
  await row.getByRole('link', { name: '2 tasks waiting in default' }).waitFor()

  await row.getByRole('button', { name: 'Purge queue default' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('2 tasks at this moment').waitFor()
  await page.keyboard.press('Enter')
  await dialog.waitFor({ state: 'detached' })
  await row.getByRole('button', { name: 'Purge queue default' }).click()
  await dialog.getByRole('button', { name: 'Purge it' }).click()
  await dialog.getByText('Really purge default?').waitFor()
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  t.equal(running.app.tasks.counts().default?.waiting, 2, 'nothing is gone yet')

  await row.getByRole('button', { name: 'Purge queue default' }).click()
  await dialog.getByRole('button', { name: 'Purge it' }).click()
  await dialog.getByRole('button', { name: 'Yes, delete its tasks' }).click()
  await row.getByRole('link', { name: '0 tasks waiting in default' }).waitFor()

  await running.enqueue('greet', { name: 'later', times: 1 }, { id: 'paused-3' })
  await page.getByRole('link', { name: 'Tasks', exact: true }).click()
  await page.getByRole('link', { name: /^greet .*-paused-3$/ }).click()
  await page.getByText('its queue is paused').waitFor()
  await page.getByRole('link', { name: 'Overview' }).click()
  await row.getByRole('button', { name: 'Resume queue default' }).click()
  await badge(row, 'Running').waitFor()
  await page.getByRole('link', { name: 'Tasks', exact: true }).click()
  await page.getByRole('row', { name: /Done.*paused-3/ }).waitFor()
})

t.test('lists follow what happens, and hold still under the pointer', { skip }, async t => {
  const page = await open(t, running.page + '#/tasks?state=done')
  await running.enqueue('greet', { name: 'one', times: 1 }, { id: 'live-1' })
  const first = page.getByRole('row', { name: /live-1/ })
  await first.waitFor()
  await first.hover()
  await running.enqueue('greet', { name: 'two', times: 1 }, { id: 'live-2' })
  await page.getByText('1 more since').waitFor()
  t.equal(await page.getByRole('row', { name: /live-2/ }).count(), 0)
  await page.mouse.move(5, 5)
  await page.getByRole('row', { name: /live-2/ }).waitFor()
})

t.test('the timeline counts what happens, as a picture and as a table', { skip }, async t => {
  const page = await open(t, running.page)
  const arrived = page.locator('.legend-item.arrived dd')
  const before = Number(await arrived.textContent())
  await running.enqueue('greet', { name: 'x', times: 1 })
  await arrived.filter({ hasText: new RegExp(`^${before + 1}$`) }).waitFor()
  await page.getByText('As a table').click()
  const cells = await page.locator('.by-minute tbody td:nth-child(2)').allTextContents()
  t.equal(cells.reduce((sum, cell) => sum + Number(cell), 0), before + 1)
  await page.locator('.succeeded-bars[d^=M]').waitFor()
})

t.test('hostile names, payloads, errors and log lines are text and nothing else', { skip }, async t => {
  await running.enqueue('hostile', { text: HOSTILE }, { id: 'hostile-1' })
  await running.enqueue('greet', { name: HOSTILE, times: 1 }, { id: 'hostile-2' })
  const page = await open(t, running.page + '#/tasks')
  await page.getByRole('link', { name: /^hostile .*-hostile-1$/ }).click()
  t.match(await page.title(), '<img')
  await page.getByText('failed 500').waitFor()
  const text = await page.locator('main').innerText()
  t.ok(text.split('<img src=x onerror="window.owned=1"><script>').length > 5, 'all of it is to be read')
  t.notOk(text.includes('\u202e') || text.includes('\u001b'))
  t.match(text, '\\u202e')

  await page.goto(running.page + '#/run?task=form')
  await page.getByRole('textbox', { name: 'As JSON' }).fill(JSON.stringify({ text: HOSTILE, [HOSTILE]: { [HOSTILE]: HOSTILE } }))
  await page.getByRole('button', { name: 'Run now' }).click()
  await page.getByText('Not run').waitFor()
  await page.goto(`${running.page}#/run?task=${encodeURIComponent(HOSTILE)}`)
  await page.getByText('There is no task').waitFor()
  await page.goto(`${running.page}#/task?name=${encodeURIComponent(HOSTILE)}`)
  await page.getByRole('alert').filter({ hasText: 'task' }).first().waitFor()
  t.equal(await page.locator('main img, main script, [onerror]').count(), 0)
})

t.test('a large payload is cut, and can be had whole', { skip }, async t => {
  await running.enqueue('greet', { name: 'long '.repeat(10_000), times: 1 }, { id: 'large-1' })
  const page = await open(t, running.page + '#/tasks')
  await page.getByRole('link', { name: /^greet .*-large-1$/ }).click()
  t.ok((await page.locator('.payload pre').textContent())!.length < 17_000)
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download the whole payload' }).click()
  ])
  t.equal(JSON.parse(readFileSync(await download.path(), 'utf8')).name.length, 50_000)
})

t.test('without a registry there is no form, and without queues of its own no queues; both say why', { skip }, async t => {
  for (const [missing, hash, text] of [
    ['tasks', '#/run', 'No task registry'],
    ['queues', '', 'The queues of this app are in Google Cloud'],
    ['queues', '#/tasks', 'The queues of this app are in Google Cloud']
  ] as const) {
    const page = await open(t, running.page + hash, {}, async page => {
      await page.route('**/api/overview', async route => {
        const response = await route.fetch()
        await route.fulfill({ response, json: { ...await response.json(), [missing]: null } })
      })
    })
    await page.getByText(text).waitFor()
    t.equal(await page.getByRole('navigation', { name: 'Views' }).getByRole('link').count(), missing === 'tasks' ? 2 : 3)
  }
})

t.test('a lost connection is shown, and everything continues when the server is back', { skip }, async t => {
  const own = await browserApp()
  const port = Number(new URL(own.page).port)
  const page = await open(t, own.page)
  await page.getByText('Live', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'Pause queue slow' }).waitFor()
  await own.app.close()
  await page.getByText('The connection to the server is lost').waitFor()
  await page.getByRole('button', { name: 'Pause queue slow' }).click()
  await page.getByText('The server cannot be reached').first().waitFor()

  const again = await browserApp({ port })
  t.teardown(async () => { await again.app.close() })
  await page.getByText('Live', { exact: true }).waitFor()
  await page.getByText('The connection to the server is lost').waitFor({ state: 'detached' })
  await again.enqueue('hostile', { text: 'after the break' })
  await page.getByRole('row', { name: /hostile/ }).waitFor()
  await page.getByRole('button', { name: 'Pause queue slow' }).click()
  await badge(page.getByRole('row', { name: /^slow/ }), 'Paused').waitFor()
})

t.test('the traces of a task and of its attempts are links to where traces are shown', { skip }, async t => {
  const sdk = startSdk(t)
  const { app, page: address, enqueue } = await browserApp({ console: { traceUrl: 'https://traces.example/{traceId}?q="><b>' } })
  t.teardown(() => app.close())
  const page = await open(t, address)
  await enqueue('flaky', { order: 'A 42' })
  await page.getByRole('row', { name: /flaky/ }).getByRole('link').first().click()
  await page.getByText('failed 500').waitFor()
  await page.getByText('Time and headers').click()
  for (const { traceId } of sdk.spans()) {
    const link = page.getByRole('link', { name: traceId })
    t.equal(await link.getAttribute('href'), `https://traces.example/${traceId}?q="><b>`)
  }
})
