/**
 * `npx tsx test/console/browser/screenshots.ts [FOLDER]`: pictures of every view, on a desktop and a phone, in both themes, into
 * FOLDER (a new one by default). `--readme` makes docs/console.png instead. Needs Chromium.
 */
import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { findChromium, launchChromium } from './chromium.js'
import { demoApp, seed } from '../demo.js'

const root = resolve(import.meta.dirname, '../../..')
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } }
const CHARGE = { customer: '8f14e45f-ceea-4671-a7d2-1a1b2c3d4e5f', cents: 900_000, method: 'transfer' }

const VIEWS: Readonly<Record<string, (page: Page, address: string) => Promise<void>>> = {
  async overview (page, address) {
    await page.goto(address)
    await page.getByRole('table', { name: 'Failing tasks' }).waitFor()
  },
  async purge (page) {
    await page.getByRole('button', { name: 'Purge queue mail' }).click()
    await page.getByRole('dialog').waitFor()
  },
  async tasks (page, address) {
    await page.goto(`${address}#/tasks`)
    await page.getByRole('table', { name: 'Ended tasks' }).waitFor()
  },
  async task (page, address) {
    await page.goto(`${address}#/tasks`)
    await page.getByRole('row', { name: /^(?:Retrying|Failed) charge-card/ }).getByRole('link').first().click()
    await page.getByText('The card could not be charged').first().waitFor()
  },
  async registry (page, address) {
    await page.goto(`${address}#/run`)
    await page.getByRole('table', { name: 'Tasks of this app' }).waitFor()
  },
  async form (page, address) {
    await page.goto(`${address}#/run?task=send-receipt`)
    await page.getByText(/Matches the schema|Incomplete/).waitFor()
  },
  async invalid (page) {
    await page
      .getByRole('textbox', { name: 'As JSON' })
      .fill('{ "order": "", "email": "ada", "language": "en", "lines": [{ "article": "Tea" }] }')
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByText('Not run').waitFor()
  },
  failure: showFailure,
  async shortcuts (page) {
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click()
    await page.getByRole('dialog').waitFor()
  }
}

const executablePath = findChromium()
if (executablePath === undefined) throw new Error('There is no Chromium here: install chromium, or set CHROMIUM_PATH to one')

const app = await demoApp({ logger: false })
const browser = await launchChromium(executablePath)
try {
  const address = `${await app.listen({ host: '127.0.0.1', port: 0 })}/console/`
  await seed(app)
  if (process.argv.includes('--readme')) await shootForReadme(browser, address)
  else await shootAll(browser, address, process.argv[2] ?? mkdtempSync(join(tmpdir(), 'console-')))
} finally {
  await browser.close()
  await app.close()
}

async function shootForReadme (browser: Browser, address: string): Promise<void> {
  const page = await open(browser, address, 'desktop', 'light', 1.5)
  await showFailure(page, address)
  await page.screenshot({ path: join(root, 'docs/console.png') })
}

async function shootAll (browser: Browser, address: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  for (const size of Object.keys(SIZES) as Array<keyof typeof SIZES>) {
    for (const theme of ['light', 'dark'] as const) {
      const page = await open(browser, address, size, theme)
      for (const [view, show] of Object.entries(VIEWS)) {
        await show(page, address)
        await page.screenshot({ path: join(folder, `${view}-${size}-${theme}.png`) })
      }
      await page.context().close()
    }
  }
  console.log(folder)
}

async function showFailure (page: Page, address: string): Promise<void> {
  await page.goto(`${address}#/run?task=charge-card`)
  await page.getByRole('textbox', { name: 'As JSON' }).fill(JSON.stringify(CHARGE, null, 2))
  await page.getByText('Matches the schema').waitFor()
  await page.getByRole('button', { name: 'Run now' }).click()
  await page.getByText('The card could not be charged').waitFor()
}

async function open (
  browser: Browser,
  address: string,
  size: keyof typeof SIZES,
  colorScheme: 'light' | 'dark',
  deviceScaleFactor = 1
): Promise<Page> {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme, deviceScaleFactor, reducedMotion: 'reduce' })
  const page = await context.newPage()
  // The path of this checkout is private.
  await page.route(/\/api\/(?:run|task)\b/, async route => {
    const response = await route.fetch()
    const text = (await response.text())
      .replaceAll(join(root, 'test/console/demo.ts'), '/shop/tasks.ts')
      .replaceAll(root, '/shop/node_modules/fastify-cloud-tasks')
    await route.fulfill({ response, body: text })
  })
  await page.goto(address)
  return page
}
