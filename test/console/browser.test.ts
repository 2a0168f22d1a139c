import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { browserApp, HOSTILE, type BrowserApp } from './browser-app.js'
import { findChromium, launchChromium } from './browser-chromium.js'

const chromium = findChromium()
const skip = chromium === undefined ? 'no Chromium here: install chromium, or set CHROMIUM_PATH to one' : false
const PATIENCE_MS = 8000

let browser: Browser
let running: BrowserApp

t.before(async () => {
  if (chromium === undefined) return
  ;[browser, running] = await Promise.all([launchChromium(chromium), browserApp()])
})
t.teardown(async () => {
  await browser?.close()
  await running?.app.close()
})

t.test('a wrong payload is refused at its field, a failing one tells why, a right one runs', { skip }, async t => {
  const page = await open(t, '#/run')
  await page.getByRole('link', { name: 'Run greet' }).click()
  await page.getByRole('heading', { name: 'greet' }).waitFor()
  const name = page.getByLabel('name', { exact: true })
  const json = page.getByRole('textbox', { name: 'The same as JSON' })
  const result = page.getByRole('region', { name: /Done|Failed|Not run/ })

  await name.fill('x')
  await name.fill('')
  await page.getByText('must not have fewer than 1 char').first().waitFor()
  await name.fill('nobody')
  await page.getByLabel('times').fill('many')
  await page.getByText('must be integer').waitFor()
  t.equal(await page.getByLabel('times').getAttribute('aria-invalid'), 'true')
  t.same(JSON.parse(await json.inputValue()), { name: 'nobody', times: 'many' }, 'what is typed is in the JSON, right or wrong')
  await page.getByRole('button', { name: 'Run now' }).click()
  await result.getByText('the payload does not fit the schema').waitFor()
  t.equal(await focused(page), 'times', 'the focus is on what is wrong')

  await json.fill('{ "name": "nobody", "times": 2 }')
  await page.getByText('Fits the schema').waitFor()
  t.equal(await page.getByLabel('times').inputValue(), '2')
  await page.getByRole('button', { name: 'Run now' }).click()
  await result.getByText('there is nobody to greet').waitFor()
  await result.getByText('the guest list is empty').waitFor()
  await result.getByText('greeting nobody').waitFor()
  t.match(await result.getByRole('group', { name: 'Stack' }).first().textContent(), 'browser-app.ts')

  await name.fill('Ada')
  await name.press('Control+Enter')
  await result.getByText('"AdaAda"').waitFor()

  await page.getByLabel('Id', { exact: true }).fill('greet-1')
  await page.getByRole('button', { name: 'Enqueue' }).click()
  await page.getByRole('link', { name: 'Look at it' }).click()
  await page.getByRole('heading', { name: 'greet' }).waitFor()
  await page.getByText('done 204').waitFor()
  t.match(await page.locator('.payload pre').textContent(), '"Ada"')
  await page.goBack()
  await page.getByLabel('Id', { exact: true }).fill('greet-1')
  await page.getByRole('button', { name: 'Enqueue' }).click()
  await page.getByText('nothing was enqueued').waitFor()
})

t.test('the form writes every kind of value, and follows the JSON', { skip }, async t => {
  const page = await open(t, '#/run?task=form')
  const json = page.getByRole('textbox', { name: 'The same as JSON' })
  const value = async (): Promise<Record<string, unknown>> => JSON.parse(await json.inputValue()) as Record<string, unknown>
  await json.fill(JSON.stringify({ text: '', plan: 'basic', version: 2, urgent: false, nested: { amount: 0 }, list: [], target: { kind: 'mail', address: '' } }))

  await page.getByLabel('text', { exact: true }).fill('a')
  await page.getByLabel('plan').selectOption('pro')
  await page.getByLabel('urgent').check()
  await page.getByLabel('amount').fill('1.5')
  await page.getByRole('button', { name: 'Add an item to list' }).click()
  await page.keyboard.type('Tea')
  await page.getByLabel('count').fill('3')
  await page.getByRole('button', { name: 'Add an item to list' }).click()
  await page.getByRole('button', { name: 'Remove list[1]' }).click()
  await page.getByRole('combobox', { name: 'target' }).selectOption({ label: 'kind: "sms"' })
  await page.getByLabel('number', { exact: true }).fill('123')
  await page.getByLabel('note').selectOption({ label: 'null' })
  await page.getByRole('button', { name: 'Add labels' }).click()
  await page.getByLabel('New key in labels').fill('__proto__')
  await page.getByLabel('New key in labels').press('Enter')
  await page.getByLabel('__proto__', { exact: true }).fill('7')
  await page.getByRole('button', { name: 'Add pair' }).click()
  await page.getByLabel('pair 1').fill('x')
  await page.getByLabel('pair 2').fill('2')
  await page.getByLabel('other').fill('{"free": [1')
  await page.getByLabel('other').fill('{"free": [1]}')
  await page.getByRole('button', { name: /^Now/ }).click()

  const { at, ...rest } = await value()
  t.same(JSON.stringify(rest), JSON.stringify({
    text: 'a',
    plan: 'pro',
    version: 2,
    urgent: true,
    nested: { amount: 1.5 },
    list: [{ article: 'Tea', count: 3 }],
    target: { kind: 'sms', number: '123' },
    note: null,
    labels: JSON.parse('{"__proto__":7}') as unknown,
    pair: ['x', 2],
    other: { free: [1] }
  }))
  t.ok(Date.parse(at as string) > 0)

  await page.getByLabel('count').fill('')
  t.same((await value()).list, [{ article: 'Tea' }], 'what is emptied and optional is left out')
  await page.getByRole('button', { name: 'Leave out labels' }).click()
  t.notOk('labels' in await value())

  await json.fill('{"text": ')
  await page.getByText('as soon as the JSON text is JSON').waitFor()
  await page.getByText('This is not JSON').waitFor()
  await json.fill('{"text": 5, "strange": 1}')
  t.equal(await page.getByLabel('text', { exact: true }).inputValue(), '5')
})

t.test('a failing task shows log lines, stack and status of its attempt; run again it is done', { skip }, async t => {
  const page = await open(t, '')
  await page.getByText('No task is failing. Good.').waitFor()
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
  t.match(await page.getByRole('group', { name: 'Stack' }).textContent(), /flaky.*browser-app\.ts/s)
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
  const page = await open(t, '')
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
  const page = await open(t, '#/tasks?state=done')
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
  const page = await open(t, '')
  const arrived = page.locator('.legend-item.arrived dd')
  const before = Number(await arrived.textContent())
  await running.enqueue('greet', { name: 'x', times: 1 })
  await arrived.filter({ hasText: new RegExp(`^${before + 1}$`) }).waitFor()
  await page.getByText('The same as a table').click()
  const cells = await page.locator('.by-minute tbody td:nth-child(2)').allTextContents()
  t.equal(cells.reduce((sum, cell) => sum + Number(cell), 0), before + 1)
  await page.locator('.succeeded-bars[d^=M]').waitFor()
})

t.test('hostile names, payloads, errors and log lines are text and nothing else', { skip }, async t => {
  await running.enqueue('hostile', { text: HOSTILE }, { id: 'hostile-1' })
  await running.enqueue('greet', { name: HOSTILE, times: 1 }, { id: 'hostile-2' })
  const page = await open(t, '#/tasks')
  await page.getByRole('link', { name: /^hostile .*-hostile-1$/ }).click()
  t.match(await page.title(), '<img')
  await page.getByText('failed 500').waitFor()
  const text = await page.locator('main').innerText()
  t.ok(text.split('<img src=x onerror="window.owned=1"><script>').length > 5, 'all of it is to be read')
  t.notOk(text.includes('\u202e') || text.includes('\u001b'))
  t.match(text, '\\u202e')

  await page.goto(running.page + '#/run?task=form')
  await page.getByRole('textbox', { name: 'The same as JSON' }).fill(JSON.stringify({ text: HOSTILE, [HOSTILE]: { [HOSTILE]: HOSTILE } }))
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
  const page = await open(t, '#/tasks')
  await page.getByRole('link', { name: /^greet .*-large-1$/ }).click()
  t.ok((await page.locator('.payload pre').textContent())!.length < 17_000)
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download the whole payload' }).click()])
  t.equal(JSON.parse(readFileSync(await download.path(), 'utf8')).name.length, 50_000)
})

t.test('the keyboard alone is enough', { skip }, async t => {
  const page = await open(t, '')
  await page.getByRole('heading', { name: 'Queues' }).waitFor()
  await page.keyboard.press('Tab')
  t.equal(await focused(page), 'Skip to the content')
  await page.keyboard.press('Enter')
  t.equal(await page.evaluate('document.activeElement.id'), 'main')

  await page.keyboard.press('?')
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })

  await page.keyboard.press('r')
  await page.getByRole('heading', { name: 'Run a task' }).waitFor()
  await tabTo(page, 'greet')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'greet' }).waitFor()
  await tabTo(page, 'name')
  await page.keyboard.press('Control+A')
  await page.keyboard.type('Grace or else')
  await tabTo(page, 'Run now')
  t.ok(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'"), 'the focus can be seen')
  await page.keyboard.press('Enter')
  await page.getByText('"Grace or else"').last().waitFor()

  await tabTo(page, 'Enqueue')
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'Look at it' }).waitFor()
  await tabTo(page, 'Look at it')
  await page.keyboard.press('Enter')
  await page.getByText('done 204').waitFor()

  await page.keyboard.press('o')
  await page.getByRole('heading', { name: 'Queues' }).waitFor()
  await tabTo(page, 'Pause queue slow')
  await page.keyboard.press('Enter')
  await badge(page.getByRole('row', { name: /^slow/ }), 'Paused').waitFor()
  t.equal(await focused(page), 'Resume queue slow', 'the focus stays')
  await page.keyboard.press('Space')
  await badge(page.getByRole('row', { name: /^slow/ }), 'Running').waitFor()

  const dark = async (): Promise<unknown> => await page.evaluate("getComputedStyle(document.documentElement).colorScheme === 'dark'")
  for (const [colorScheme, other] of [['dark', 'light'], ['light', 'dark']] as const) {
    await page.emulateMedia({ colorScheme })
    await page.getByRole('button', { name: `Switch to the ${other} theme` }).waitFor()
  }
  const before = await dark()
  await page.keyboard.press('t')
  t.not(await dark(), before)
  await page.reload()
  await page.getByRole('heading', { name: 'Queues' }).waitFor()
  t.not(await dark(), before, 'the theme is kept')
})

t.test('nothing is wider than a narrow phone, and axe finds nothing to complain of, in both themes', { skip }, async t => {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  await running.enqueue('hostile', { text: 'wide '.repeat(10) + 'x'.repeat(300) }, { id: `long-${'x'.repeat(200)}` })
  const name = await taskName('hostile')
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await open(t, '', { colorScheme, viewport: { width: 360, height: 740 } })
    await page.evaluate(axe)
    const check = async (what: string): Promise<void> => {
      t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= 360, `${what} fits a phone`)
      for (const width of colorScheme === 'light' ? [360, 1280] : [1280]) {
        await page.setViewportSize({ width, height: 740 })
        t.same(await page.evaluate(AXE_RUN), [], `${what}, ${colorScheme}, ${width} px`)
      }
      await page.setViewportSize({ width: 360, height: 740 })
    }
    await page.getByRole('table', { name: 'Queues' }).waitFor()
    await check('the overview')
    await page.getByRole('button', { name: 'Purge queue slow' }).click()
    await check('the question before a purge')
    await page.keyboard.press('Escape')
    await page.goto(`${running.page}#/tasks`)
    await page.getByRole('table', { name: 'Ended tasks' }).waitFor()
    await check('the list of tasks')
    await page.goto(`${running.page}#/tasks?state=expired`)
    await page.getByText('No task has expired').waitFor()
    await check('an empty list')
    await page.goto(`${running.page}#/task?name=${encodeURIComponent(name)}`)
    await page.getByText('failed 500').waitFor()
    await page.getByText('Time and headers').click()
    await check('a task')
    await page.goto(`${running.page}#/run`)
    await page.getByRole('table', { name: 'Tasks of this app' }).waitFor()
    await check('the registry')
    await page.goto(`${running.page}#/run?task=form`)
    await page.getByRole('textbox', { name: 'The same as JSON' }).fill(JSON.stringify({ text: 1, list: [{ article: 'a' }], labels: { a: 'b' }, pair: ['x'], target: { kind: 'sms' }, other: { a: 1 }, strange: true }))
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByText('Not run').waitFor()
    await check('a form with faults')
    await page.goto(`${running.page}#/run?task=greet`)
    await page.getByRole('textbox', { name: 'The same as JSON' }).fill('{"name": "nobody", "times": 1}')
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByText('there is nobody to greet').waitFor()
    await check('a run that failed')
  }
})

t.test('without a registry there is no form, and without queues of its own no list; both say why', { skip }, async t => {
  for (const [missing, hash, text] of [
    ['tasks', '#/run', 'There is no registry here'],
    ['queues', '', 'The queues of this app live in Cloud Tasks'],
    ['queues', '#/tasks', 'The tasks of this app live in Cloud Tasks']
  ] as const) {
    const page = await open(t, hash, {}, async page => {
      await page.route('**/api/overview', async route => {
        const response = await route.fetch()
        await route.fulfill({ response, json: { ...await response.json(), [missing]: null } })
      })
    })
    await page.getByText(text).waitFor()
    t.equal(await page.getByRole('navigation', { name: 'Views' }).getByRole('link').count(), missing === 'tasks' ? 2 : 3)
  }
})

t.test('a lost connection is told, and all goes on when the server is back', { skip }, async t => {
  const own = await browserApp()
  const port = Number(new URL(own.page).port)
  const page = await open(t, '', {}, undefined, own.page)
  await page.getByText('Live', { exact: true }).waitFor()
  await own.app.close()
  await page.getByText('The connection to the server is lost').waitFor()
  await page.getByRole('button', { name: 'Pause queue slow' }).click()
  await page.getByText('The server cannot be reached').first().waitFor()

  const again = await browserApp(port)
  t.teardown(async () => { await again.app.close() })
  await page.getByText('Live', { exact: true }).waitFor()
  await page.getByText('The connection to the server is lost').waitFor({ state: 'detached' })
  await again.enqueue('hostile', { text: 'after the break' })
  await page.getByRole('row', { name: /hostile/ }).waitFor()
  await page.getByRole('button', { name: 'Pause queue slow' }).click()
  await badge(page.getByRole('row', { name: /^slow/ }), 'Paused').waitFor()
})

const AXE_RUN = `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) =>
  id + ': ' + nodes.map(({ target, failureSummary }) => target.join(' ') + ' ' + failureSummary.replace(/\\s+/g, ' ')).join(' | ')))`

/** The page in a context of its own, which must end without an error, a violation of its policy, or a script that was not ours. */
async function open (t: Pick<Test, 'teardown'>, hash: string, options: Parameters<Browser['newContext']>[0] = {}, prepare?: (page: Page) => Promise<void>, address: string = running.page): Promise<Page> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(PATIENCE_MS)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', error => { complaints.push(String(error.stack)) })
  page.on('console', message => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text())
  })
  page.on('dialog', dialog => { complaints.push(`dialog: ${dialog.message()}`) })
  t.teardown(async () => {
    const owned = await page.evaluate('window.owned')
    await context.close()
    if (owned !== undefined) complaints.push('a hostile script ran')
    if (complaints.length > 0) throw new Error(complaints.join('\n'))
  })
  await prepare?.(page)
  await page.goto(address + hash)
  return page
}

/** The state of a row, as it is seen. */
function badge (row: Locator, state: string): Locator {
  return row.locator('.badge').filter({ hasText: state, visible: true })
}

/** What is read out of the element that has the focus. */
async function focused (page: Page): Promise<string> {
  return await page.evaluate(`(() => {
    const element = document.activeElement
    return (element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.textContent).trim()
  })()`) as string
}

/** Presses Tab until the element of that name has the focus. */
async function tabTo (page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press('Tab')
    if (await focused(page) === name) return
  }
  throw new Error(`Tab does not lead to ${name}`)
}

async function taskName (task: string): Promise<string> {
  const response = await fetch(`${running.page}api/tasks?state=retrying`)
  const { tasks } = await response.json() as { tasks: Array<{ name: string, task?: string }> }
  return tasks.find(one => one.task === task)!.name
}
