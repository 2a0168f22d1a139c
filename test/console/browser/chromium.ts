import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core'
import type { Test, TAP } from 'tap'

/** Where Chromium is: what CHROMIUM_PATH names, or where distributions install it. Undefined when it is not found. */
export function findChromium (): string | undefined {
  const named = process.env.CHROMIUM_PATH
  if (named !== undefined && named !== '') return named
  return PLACES.find(existsSync)
}

export async function launchChromium (executablePath: string): Promise<Browser> {
  return await chromium.launch({ executablePath, args: ['--disable-dev-shm-usage', '--disable-gpu'] })
}

export interface BrowserTests {
  /** Why the tests cannot run here, or false: the option `skip` of a test. */
  readonly skip: string | false
  /** Opens a page in a context of its own. At the end of the test it must have had no error, no policy violation and no foreign script. */
  open(t: Pick<Test, 'teardown'>, address: string, options?: BrowserContextOptions, prepare?: (page: Page) => Promise<void>): Promise<Page>
}

export interface BrowserTestsOptions {
  /** Whether pages run what the server sends. By default they get the script of the source as one, which takes a third less time. */
  readonly asServed?: boolean
}

/** One Chromium for all tests of a file, closed after them. */
export function browserTests (t: TAP, { asServed = false }: BrowserTestsOptions = {}): BrowserTests {
  const path = findChromium()
  let browser: Browser
  let script: Buffer | undefined
  t.before(async () => {
    if (path === undefined) return
    if (!asServed) script = await bundledScript()
    browser = await launchChromium(path)
  })
  t.teardown(async () => { await browser?.close() })
  return {
    skip: path === undefined ? 'no Chromium here: install chromium, or set CHROMIUM_PATH to one' : false,
    open: async (t, address, options = {}, prepare = async () => {}) => await openPage(t, browser, address, options, async page => {
      const body = script
      if (body !== undefined) await page.route('**/assets/*/main.js', route => route.fulfill({ body, contentType: 'text/javascript' }))
      await prepare(page)
    })
  }
}

/** As .ci/build.js makes it. */
async function bundledScript (): Promise<Buffer> {
  const main = join(import.meta.dirname, '../../../lib/console/assets/main.js')
  const { outputFiles } = await build({ entryPoints: [main], bundle: true, format: 'esm', target: 'es2023', minify: true, write: false })
  return Buffer.from(outputFiles[0]!.contents)
}

async function openPage (
  t: Pick<Test, 'teardown'>, browser: Browser, address: string, options: BrowserContextOptions, prepare: (page: Page) => Promise<void>
): Promise<Page> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(TIMEOUT_MS)
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', error => { problems.push(String(error.stack)) })
  page.on('console', message => {
    if (/Content Security Policy/i.test(message.text())) problems.push(message.text())
  })
  page.on('dialog', dialog => { problems.push(`dialog: ${dialog.message()}`) })
  t.teardown(async () => {
    const owned = await page.evaluate('window.owned')
    await context.close()
    if (owned !== undefined) problems.push('a hostile script ran')
    if (problems.length > 0) throw new Error(problems.join('\n'))
  })
  await prepare(page)
  await page.goto(address)
  return page
}

/** The state that a row shows. */
export function badge (row: Locator, state: string): Locator {
  return row.locator('.badge').filter({ hasText: state, visible: true })
}

/** The accessible name of the focused element. */
export async function focused (page: Page): Promise<string> {
  return await page.evaluate(`(() => {
    const element = document.activeElement
    return (element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.textContent).trim()
  })()`) as string
}

/** Presses Tab until the element of that name has the focus. */
export async function tabTo (page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press('Tab')
    if (await focused(page) === name) return
  }
  throw new Error(`Tab does not lead to ${name}`)
}

const TIMEOUT_MS = 8000

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium'
]
