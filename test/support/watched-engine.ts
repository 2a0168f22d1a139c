import { History, type HistoryOptions } from '../../lib/console/history/history.js'
import { RowPages } from '../../lib/console/history/row-pages.js'
import { Timeline } from '../../lib/console/history/timeline.js'
import { httpRequest, queue, startEngine, type EngineHarness } from './engine-harness.js'

export interface Watched extends EngineHarness {
  readonly history: History
  readonly timeline: Timeline
  readonly pages: RowPages
  /** Adds a task and returns its name. */
  readonly add: (id: string, size?: number) => Promise<string>
}

export async function watch (options: Partial<HistoryOptions> = {}): Promise<Watched> {
  const set = await startEngine()
  const { engine, clock } = set
  const timeline = new Timeline(clock.now(), () => engine.queues().reduce((sum, { name }) => sum + engine.counts(name).waiting, 0))
  const history = new History({ history: 1000, timeline, onChange: () => {}, onQueue: () => {}, clock, ...options })
  engine.observe(history)
  const add = async (id: string, size?: number): Promise<string> => {
    const body = size === undefined ? {} : { body: Buffer.alloc(size, 'x') }
    const task = await engine.createTask(queue, { name: `${queue}/tasks/${id}`, httpRequest: { ...httpRequest, ...body } })
    await clock.settle()
    return task.name
  }
  return { ...set, history, timeline, pages: new RowPages(engine, history), add }
}

export const names = (records: Iterable<{ readonly name: string }>): string[] =>
  Array.from(records, ({ name }) => name.slice(name.lastIndexOf('/') + 1))
