import { EmptyState } from './parts/empty-state.js'
import { LettersView } from './views/letters-view.js'
import { loadOverview, overview, overviewError } from './data/live-state.js'
import { html, useEffect, useErrorBoundary, useRef } from './htm-preact.js'
import { Notices } from './parts/notice.js'
import { OverviewView } from './views/overview-view.js'
import { PageHead } from './parts/page-head.js'
import { route } from './data/route.js'
import { RunView } from './views/run-view.js'
import { Shortcuts } from './parts/shortcuts.js'
import { useObservable } from './data/observable.js'
import { TaskListView } from './views/task-list-view.js'
import { TaskView } from './views/task-view.js'
import { visible } from './parts/visible-text.js'

const VIEWS = {
  overview: { title: 'Overview', View: OverviewView },
  tasks: { title: 'Tasks', View: TaskListView },
  task: { title: 'Task', View: TaskView },
  run: { title: 'Run a task', View: RunView },
  letters: { title: 'Dead letters', View: LettersView }
}

/** The page. */
export function Page () {
  const main = useRef(null)
  const { view, query } = useObservable(route)
  const loaded = useObservable(overview)
  const { title = 'Not found' } = VIEWS[view] ?? {}
  useEffect(() => {
    document.title = visible(`${query.task ?? title} · ${loaded?.title ?? 'Tasks'}`)
  }, [title, query.task, loaded?.title])
  useFocusOnNavigation(main, `${view} ${query.task ?? query.name ?? query.page ?? ''}`)

  const skip = event => {
    event.preventDefault()
    main.current.focus()
  }
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${PageHead} view=${view} />
    <main id="main" ref=${main} tabindex="-1" aria-label=${title}>
      <${Guarded} key=${view} view=${view} query=${query} />
    </main>
    <${Notices} />
    <${Shortcuts} />
  `
}

/** A view, or the reason why it cannot be shown. */
function Guarded ({ view, query }) {
  const [error, reset] = useErrorBoundary()
  const loaded = useObservable(overview)
  const loadError = useObservable(overviewError)
  if (error !== undefined) {
    return html`
      <${EmptyState} title="This view could not be rendered" tone="bad">
        <p>${String(error?.message ?? error)}</p>
        <button class="button" onClick=${reset}>Try again</button>
      <//>`
  }
  if (loaded === undefined) {
    if (loadError === undefined) return html`<p class="loading" role="status">Loading…</p>`
    return html`
      <${EmptyState} title="The console could not be loaded" tone="bad">
        <p>${loadError.message}</p>
        <button class="button" onClick=${loadOverview}>Try again</button>
      <//>`
  }
  const View = VIEWS[view]?.View
  if (View === undefined) {
    return html`<${EmptyState} title="Page not found"><p><a href="#/">Go to the overview</a></p><//>`
  }
  return html`<${View} query=${query} overview=${loaded} />`
}

/** Moves scroll position and focus to the top of a new view, so that keyboard and screen reader continue there. */
function useFocusOnNavigation (main, place) {
  const first = useRef(true)
  useEffect(() => {
    if (first.current) {
      first.current = false
      return
    }
    scrollTo(0, 0)
    main.current.focus({ preventScroll: true })
  }, [place])
}
