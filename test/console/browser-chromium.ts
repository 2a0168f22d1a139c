import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

/** Where Chromium is: what CHROMIUM_PATH names, or where distributions put it. Undefined when it is nowhere. */
export function findChromium (): string | undefined {
  const named = process.env.CHROMIUM_PATH
  if (named !== undefined && named !== '') return named
  return PLACES.find(existsSync)
}

export async function launchChromium (executablePath: string): Promise<Browser> {
  return await chromium.launch({ executablePath, args: ['--disable-dev-shm-usage'] })
}

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium'
]
