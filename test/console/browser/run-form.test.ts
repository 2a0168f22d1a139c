import t from 'tap'
import { browserApp, type BrowserApp } from './app.js'
import { browserTests, focused } from './chromium.js'

const { skip, open } = browserTests(t)

let running: BrowserApp
t.before(async () => { running = await browserApp() })
t.teardown(() => running.app.close())

t.test('an invalid payload is rejected at its field, a failing one shows its error, a valid one runs', { skip }, async t => {
  const page = await open(t, running.page + '#/run')
  await page.getByRole('link', { name: 'Run greet' }).click()
  await page.getByRole('heading', { name: 'greet' }).waitFor()
  const name = page.getByLabel('name', { exact: true })
  const json = page.getByRole('textbox', { name: 'As JSON' })
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
  await result.getByText('the payload does not match the schema').waitFor()
  t.equal(await focused(page), 'times', 'the focus is on what is wrong')

  await json.fill('{ "name": "nobody", "times": 2 }')
  await page.getByText('Matches the schema').waitFor()
  t.equal(await page.getByLabel('times').inputValue(), '2')
  await page.getByRole('button', { name: 'Run now' }).click()
  await result.getByText('there is nobody to greet').waitFor()
  await result.getByText('the guest list is empty').waitFor()
  await result.getByText('greeting nobody').waitFor()
  t.match(await result.getByRole('group', { name: 'Stack' }).first().textContent(), 'browser/app.ts')

  await name.fill('Ada')
  await name.press('Control+Enter')
  await result.getByText('"AdaAda"').waitFor()

  await page.getByLabel('Id', { exact: true }).fill('greet-1')
  await page.getByRole('button', { name: 'Enqueue' }).click()
  await page.getByRole('link', { name: 'View task' }).click()
  await page.getByRole('heading', { name: 'greet' }).waitFor()
  await page.getByText('done 204').waitFor()
  t.match(await page.locator('.payload pre').textContent(), '"Ada"')
  await page.goBack()
  await page.getByLabel('Id', { exact: true }).fill('greet-1')
  await page.getByRole('button', { name: 'Enqueue' }).click()
  await page.getByText('nothing was enqueued').waitFor()
})

t.test('the form writes every kind of value, and follows the JSON', { skip }, async t => {
  const page = await open(t, running.page + '#/run?task=form')
  const json = page.getByRole('textbox', { name: 'As JSON' })
  const value = async (): Promise<Record<string, unknown>> => JSON.parse(await json.inputValue()) as Record<string, unknown>
  await json.fill(
    JSON.stringify({
      text: '',
      plan: 'basic',
      version: 2,
      urgent: false,
      nested: { amount: 0 },
      list: [],
      target: { kind: 'mail', address: '' }
    })
  )

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
  await page.getByText('when the JSON is valid').waitFor()
  await page.getByText('is not valid JSON').waitFor()
  await json.fill('{"text": 5, "strange": 1}')
  t.equal(await page.getByLabel('text', { exact: true }).inputValue(), '5')
})
