import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import { browserApp, type BrowserApp } from './app.js'
import { badge, browserTests, focused, tabTo } from './chromium.js'

const { skip, open } = browserTests(t)

let running: BrowserApp
t.before(async () => { running = await browserApp() })
t.teardown(() => running.app.close())

t.test('the keyboard alone is enough', { skip }, async t => {
  const page = await open(t, running.page)
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
  await page.getByRole('link', { name: 'View task' }).waitFor()
  await tabTo(page, 'View task')
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
    const page = await open(t, running.page, { colorScheme, viewport: { width: 360, height: 740 } })
    await page.evaluate(axe)
    const check = async (what: string): Promise<void> => {
      t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= 360, `${what} fits a phone`)
      for (const width of colorScheme === 'light' ? [360, 1280] : [1280]) {
        await page.setViewportSize({ width, height: 740 })
        // A theme changes colours only.
        const rules = colorScheme === 'light' ? '' : ", runOnly: ['color-contrast']"
        t.same(await page.evaluate(axeRun(rules)), [], `${what}, ${colorScheme}, ${width} px`)
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
    await page
      .getByRole('textbox', { name: 'As JSON' })
      .fill(
        JSON.stringify({
          text: 1,
          list: [{ article: 'a' }],
          labels: { a: 'b' },
          pair: ['x'],
          target: { kind: 'sms' },
          other: { a: 1 },
          strange: true
        })
      )
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByText('Not run').waitFor()
    await check('a form with faults')
    await page.goto(`${running.page}#/run?task=greet`)
    await page.getByRole('textbox', { name: 'As JSON' }).fill('{"name": "nobody", "times": 1}')
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByText('there is nobody to greet').waitFor()
    await check('a run that failed')
  }
})

const axeRun = (options: string): string => `axe.run(document, { resultTypes: ['violations']${options} }).then(({ violations }) =>
  violations.map(({ id, nodes }) => id + ': ' +
    nodes.map(({ target, failureSummary }) => target.join(' ') + ' ' + failureSummary.replace(/\\s+/g, ' ')).join(' | ')))`

async function taskName (task: string): Promise<string> {
  const response = await fetch(`${running.page}api/tasks?state=retrying`)
  const { tasks } = await response.json() as { tasks: Array<{ name: string, task?: string }> }
  return tasks.find(one => one.task === task)!.name
}
