import { readFileSync, readdirSync, existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { root } from './support/compiler.js'

const text = (file: string): string => readFileSync(join(root, file), 'utf8')
const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.md')).map(file => `docs/${file}`)
const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'test/bench/README.md', 'test/bench/peers/README.md', ...docs]

t.test('the README has at most 200 lines', async t => {
  t.ok(text('README.md').trimEnd().split('\n').length <= 200)
})

t.test('the index of the documentation lists every page once, by its title', async t => {
  const index = linksOf('docs/README.md').filter(({ path }) => path.startsWith('docs/'))
  t.strictSame(index.map(({ path }) => path).toSorted(), docs.filter(page => page !== 'docs/README.md').toSorted())
  for (const { path, label } of index) t.ok(text(path).startsWith(`# ${label}`), `${path} is called ${label}`)
})

t.test('the index of the documentation lists every example', async t => {
  const listed = linksOf('docs/README.md').map(({ path }) => path).filter(path => path.startsWith('example/'))
  const examples = readdirSync(join(root, 'example')).filter(file => file.endsWith('.ts')).map(file => `example/${file}`)
  t.strictSame(listed.toSorted(), examples.toSorted())
})

t.test('every relative link leads to a file or a heading that exists', async t => {
  let count = 0
  for (const page of pages) {
    for (const { path, anchor } of linksOf(page)) {
      count++
      if (!existsSync(join(root, path))) t.fail(`${page}: there is no ${path}`)
      else if (anchor !== undefined && !headingsOf(path).has(anchor)) t.fail(`${page}: there is no heading ${path}#${anchor}`)
    }
  }
  t.ok(count > 80, `${count} links`)
})

t.test('docs/django.md shows the very files of the project that is checked', async t => {
  const page = text('docs/django.md')
  const project = 'test/clients/django/shop'
  for (const file of readdirSync(join(root, project))) t.ok(page.includes(`\`\`\`python\n${text(`${project}/${file}`)}\`\`\``), file)
})

/** The links of a page that lead to a file of the repository, from its root, and to headings. */
function linksOf (page: string): Array<{ readonly label: string, readonly path: string, readonly anchor: string | undefined }> {
  const found = withoutCode(text(page)).matchAll(/(?<!!)\[((?:[^[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*)\]\(([^)\s]*)\)|!\[[^\]]*\]\(([^)\s]*)\)/g)
  return [...found].flatMap(([, label = '', link, image]) => {
    const target = link ?? image!
    if (/^[a-z]+:/.test(target)) return []
    const [path = '', anchor] = target.split('#')
    return [{ label, path: path === '' ? page : normalize(join(dirname(page), path)), anchor }]
  })
}

/** The anchors of a page's headings, as GitHub makes them. */
function headingsOf (page: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading] of withoutBlocks(text(page)).matchAll(/^#+ (.*)$/gm)) {
    const anchor = heading!.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')
    let [name, again] = [anchor, 0]
    while (anchors.has(name)) name = `${anchor}-${++again}`
    anchors.add(name)
  }
  return anchors
}

function withoutBlocks (markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```$/gm, '')
}

function withoutCode (markdown: string): string {
  return withoutBlocks(markdown).replace(/`[^`\n]*`/g, '``')
}
