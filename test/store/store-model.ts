import { deepEqual, notEqual } from 'node:assert/strict'
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import { queueNameOf } from '../../lib/cloud-tasks/names.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { openDatabases } from '../../lib/store/lmdb/databases.js'
import { prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { StoreError } from '../../lib/store/store-error.js'
import type { Store, StoredQueue, StoredState } from '../../lib/store/store.js'
import { MDB_BAD_TXN, type BatchFault } from './failing-batches.js'
import { ENOUGH, FailingDisk, type WriteFault, type Written } from './failing-disk.js'
import { failed, newTask, now } from './stored-task.js'

// Random changes of a store on a disk that fails, in processes that end at any moment, against a model of three maps. Where the promise
// of a change resolved, the change is there, in memory and after a restart; where it was rejected, it is not; only of what was being
// written when a process ended, or when the disk failed for good, nothing is known until the restart.

const QUEUES = ['projects/p/locations/l/queues/q', 'projects/p/locations/l/queues/q-2']
const TASKS = QUEUES.flatMap(queue => ['a', 'b', 'c'].map(id => `${queue}/tasks/${id}`))

/** How much of a write reaches the disk. */
const written = fc.constantFrom('none' as const, 'half' as const, 'all' as const)
const queue = fc.constantFrom(...QUEUES)
const task = fc.constantFrom(...TASKS)
const size = fc.constantFrom(10, 10, 10, 5000, 300_000)
const code = fc.constantFrom<WriteFault['code'][]>('ENOSPC', 'ENOSPC', 'EDQUOT', 'EDQUOT', 'EIO')
const fault = fc.record<WriteFault>({ code, after: fc.constantFrom(0, 0, 1, 2), written, times: fc.integer({ min: 1, max: 3 }) })
/** A full disk and a full quota, transactions that are repeated, an error of the disk, and a full map. */
const batchCode = fc.constantFrom(28, 28, 28, 122, MDB_BAD_TXN, MDB_BAD_TXN, 5, -30_792)
const batchFault = fc.record<BatchFault>({
  code: batchCode,
  after: fc.constantFrom(0, 0, 0, 1, 2),
  times: fc.nat(5),
  isWritten: fc.constantFrom(false, false, false, true),
  isLast: fc.constantFrom(false, false, false, true)
})
  // Those are aborted before anything is written.
  .map(fault => fault.code === MDB_BAD_TXN ? { ...fault, isWritten: false, isLast: false } : fault)
/** While a store is opened: its files cannot be created or begun, its transactions fail, or a disk is full after the first look. */
const openingFault = fc.oneof(
  fc.record({ files: fc.record<WriteFault>({ code, after: fc.nat(4), written, times: fc.constant(1) }) }),
  fc.record({ batches: batchFault }),
  fc.record({ freeBytes: fc.constant(0) })
)
/** Of the starts before the one that succeeds. */
const openingFaults = fc.oneof(fc.constant<OpeningFault[]>([]), fc.array(openingFault, { maxLength: 2 }))
/** None at all; too little for more tasks, enough to remove some; enough. */
const freeBytes = fc.constantFrom(0, 6 * 2 ** 20, ENOUGH, ENOUGH)
const step = fc.oneof(
  { weight: 30, arbitrary: fc.record({ do: fc.constant('put' as const), task, size }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('putMany' as const), tasks: fc.subarray(TASKS, { minLength: 1 }), size }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constant('attempt' as const), task }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constant('remove' as const), task, bury: fc.boolean() }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('putQueue' as const), queue, isPaused: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('removeQueue' as const), queue, bury: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('purge' as const), queue }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('forget' as const), names: fc.subarray([...QUEUES, ...TASKS], { minLength: 1 }) }) },
  { weight: 15, arbitrary: fc.record({ do: fc.constant('wait' as const) }) },
  { weight: 15, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('holdWrites' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('failWrites' as const), fault }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('failTruncation' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('holdBatches' as const) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('failBatches' as const), fault: batchFault }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('freeSpace' as const), bytes: freeBytes, afterCalls: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('reopen' as const), faults: openingFaults }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('crash' as const), written, faults: openingFaults }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('takeOver' as const) }) }
)

/** What may happen to a store, as data, so that a sequence that fails can be repeated and shortened. */
export const scenario = fc.record({
  journalBytes: fc.constantFrom(1, 2000, 8 * 2 ** 20),
  faults: openingFaults,
  steps: fc.array(step, { minLength: 1, maxLength: 100, size: 'max' })
})

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
type OpeningFault = typeof openingFault extends fc.Arbitrary<infer T> ? T : never
export type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never

/** What a store has. */
interface Content {
  readonly queues: Map<string, StoredQueue>
  readonly tasks: Map<string, Task>
  readonly tombstones: Map<string, number>
}

/** unknown: it may or may not be stored. */
type Outcome = 'pending' | 'stored' | 'rejected' | 'unknown'

interface Change {
  readonly onModel: (content: Content) => void
  readonly onStore: (store: Store) => Promise<void>
  outcome: Outcome
}

/** Runs a scenario in a folder. Rejects where store and model disagree. Resolves with the numbers of changes. */
export async function runScenario ({ journalBytes, faults, steps }: Scenario, folder: string): Promise<Record<Outcome, number>> {
  const run = new ScenarioRun(folder, journalBytes)
  try {
    await run.open(faults)
    for (const step of [{ do: 'putQueue', queue: QUEUES[0]!, isPaused: false } as const, ...steps]) {
      await (run[step.do] as (step: Step) => unknown).call(run, step)
      await promisesSettled()
      run.check()
    }
    await run.end()
    return run.outcomes
  } finally {
    await run.close()
  }
}

class ScenarioRun implements Record<Step['do'], (step: never) => unknown> {
  readonly outcomes = { pending: 0, stored: 0, rejected: 0, unknown: 0 }
  readonly #folder: string
  readonly #journalBytes: number
  /** Gets what the disk has acknowledged. */
  readonly #memory = new MemoryStore()
  #content: Content = { queues: new Map(), tasks: new Map(), tombstones: new Map() }
  /** In the order of the calls, of this process. */
  #changes: Change[] = []
  #store!: LmdbStore
  #disk!: FailingDisk
  /** The disks of processes that know that they store nothing more. */
  readonly #broken = new Set<FailingDisk>()
  #directories = 0
  /** Errors that nothing explains. */
  readonly #surprises: Error[] = []
  /** Makes each task and tombstone another one. */
  #count = 0

  constructor (folder: string, journalBytes: number) {
    this.#folder = folder
    this.#journalBytes = journalBytes
  }

  // Changes, none of which waits for the ones before.

  put ({ task, size }: { task: string, size: number }): void {
    if (this.#expected().queues.has(queueNameOf(task))) this.#put([this.#newTask(task, size)])
  }

  putMany ({ tasks, size }: { tasks: string[], size: number }): void {
    const { queues } = this.#expected()
    this.#put(tasks.filter(task => queues.has(queueNameOf(task))).map(task => this.#newTask(task, size)))
  }

  attempt ({ task: name }: { task: string }): void {
    const task = this.#expected().tasks.get(name)
    // A task is run once it is acknowledged.
    const acknowledged = this.#expected([], ['stored']).tasks.get(name)
    if (task !== undefined && task.httpRequest === acknowledged?.httpRequest) this.#put([failed(task)])
  }

  remove ({ task, bury }: { task: string, bury: boolean }): void {
    const until = bury ? ++this.#count : undefined
    this.#change(content => {
      content.tasks.delete(task)
      if (until !== undefined) content.tombstones.set(task, until)
    }, store => store.removeTask(task, until === undefined ? undefined : { name: task, until }))
  }

  purge ({ queue }: { queue: string }): void {
    for (const task of this.#expected().tasks.keys()) if (queueNameOf(task) === queue) this.remove({ task, bury: false })
  }

  putQueue ({ queue: name, isPaused }: { queue: string, isPaused: boolean }): void {
    const queue = { name, settings: DEFAULT_QUEUE_SETTINGS, state: isPaused ? 'PAUSED' : 'RUNNING', purgedAt: ++this.#count } as const
    this.#change(({ queues }) => { queues.set(name, queue) }, store => store.putQueue(queue))
  }

  removeQueue ({ queue, bury }: { queue: string, bury: boolean }): void {
    const until = bury ? ++this.#count : undefined
    this.#change(({ queues, tasks, tombstones }) => {
      queues.delete(queue)
      for (const task of tasks.keys()) if (queueNameOf(task) === queue) tasks.delete(task)
      if (until !== undefined) tombstones.set(queue, until)
    }, store => store.removeQueue(queue, until === undefined ? undefined : { name: queue, until }))
  }

  forget ({ names }: { names: string[] }): void {
    this.#change(({ tombstones }) => { for (const name of names) tombstones.delete(name) }, store => store.forget(names))
  }

  // What happens to the process and its disk.

  async wait (): Promise<void> {
    for (let turns = 0; turns < 3; turns++) await nextTurn()
  }

  async settle (): Promise<void> {
    this.#disk.release()
    while (this.#changes.some(({ outcome }) => outcome === 'pending')) await nextTurn()
  }

  holdWrites (): void {
    this.#disk.hold()
  }

  failWrites ({ fault }: { fault: WriteFault }): void {
    this.#disk.failWrites(fault)
  }

  failTruncation (): void {
    this.#disk.failTruncation()
  }

  freeSpace ({ bytes, afterCalls }: { bytes: number, afterCalls: number }): void {
    this.#disk.setFreeBytes(bytes, afterCalls)
  }

  holdBatches (): void {
    this.#disk.holdBatches()
  }

  failBatches ({ fault }: { fault: BatchFault }): void {
    this.#disk.failBatches(fault)
  }

  async reopen ({ faults }: { faults: OpeningFault[] }): Promise<void> {
    this.#disk.release()
    await this.#store.close()
    await nextTurn()
    await this.open(faults)
  }

  /** Leaves the files as they are now, with more or less of what is being written. */
  async crash ({ written, faults }: { written: Written, faults: OpeningFault[] }): Promise<void> {
    this.#disk.writeHeld(written)
    const former = this.#store
    const formerDisk = this.#disk
    const [from, to] = [this.#directory, join(this.#folder, String(++this.#directories))]
    // In one turn of the event loop, in which no more than one transaction of LMDB can end.
    cpSync(from, to, { recursive: true })
    rmSync(join(to, 'owner.json'), { force: true })
    for (const change of this.#changes) if (change.outcome === 'pending') change.outcome = formerDisk.mayHoldMore ? 'unknown' : 'rejected'
    formerDisk.failWrites({ code: 'EIO', written: 'none', times: Infinity })
    formerDisk.release()
    await former.close()
    rmSync(from, { recursive: true })
    await this.open(faults)
  }

  /** By a process in another container, while this one goes on. */
  async takeOver (): Promise<void> {
    const former = this.#store
    this.#disk.mayHoldMore = true
    this.#disk.explained.add('inUse')
    writeFileSync(join(this.#directory, 'owner.json'), '{"pid":0}')
    this.forget({ names: [TASKS[0]!] })
    const late = this.#changes.at(-1)!
    this.#disk.release()
    const opened = await this.#load()
    while (this.#changes.some(({ outcome }) => outcome === 'pending')) await nextTurn()
    notEqual(late.outcome, 'stored', 'by a process that has lost the directory')
    await this.#compare(opened)
    await former.close()
  }

  async open (faults: OpeningFault[] = []): Promise<void> {
    for (const fault of faults) await this.#openWith(fault)
    await this.#compare(await this.#load())
  }

  /** In the end the files have what the model has, and nothing else. */
  async end (): Promise<void> {
    await this.reopen({ faults: [] })
    this.check()
    // Tasks of deleted queues are removed by one commit.
    await this.#store.forget([])
    await this.#store.close()
    const databases = await openDatabases(this.#directory, prepareDirectory(this.#directory))
    try {
      const { queues, tasks, tombstones } = this.#content
      const rows = (['queues', 'tasks', 'states', 'names'] as const).map(table => databases[table].getCount())
      const attempted = [...tasks.values()].filter(task => task.dispatchCount > 0)
      deepEqual(rows, [queues.size, tasks.size, attempted.length, tombstones.size], 'rows of queues, tasks, states and names')
    } finally {
      await databases.root.close()
    }
  }

  async close (): Promise<void> {
    this.#disk.release()
    await this.#store.close()
  }

  /** Reads see every change that was requested and not rejected. */
  check (): void {
    if (this.#surprises.length > 0) throw new Error('there is no reason for what the store did', { cause: this.#surprises[0] })
    const { tasks } = this.#expected()
    for (const name of TASKS) deepEqual(this.#store.getTask(name), tasks.get(name), name)
  }

  get #directory (): string {
    return join(this.#folder, String(this.#directories))
  }

  #options (disk: FailingDisk) {
    return {
      directory: this.#directory,
      journalBytes: this.#journalBytes,
      freeBytes: () => disk.freeBytes(),
      createJournalFile: (path: string) => disk.createFile(path)
    }
  }

  async #load (): Promise<StoredState> {
    const disk = new FailingDisk(this.#surprises)
    const store = new LmdbStore(this.#options(disk))
    const state = await store.load()
    this.#store = store
    this.#disk = disk
    return state
  }

  /** A start that fails, unless the fault does not concern it. */
  async #openWith (fault: OpeningFault): Promise<void> {
    const disk = new FailingDisk(this.#surprises)
    if ('files' in fault) disk.failWrites(fault.files)
    else if ('batches' in fault) disk.failBatches(fault.batches)
    else disk.setFreeBytes(fault.freeBytes, 1)
    const store = new LmdbStore(this.#options(disk))
    const problem = await store.load().then(() => undefined, (error: unknown) => error instanceof StoreError ? error.problem : error)
    deepEqual(problem, disk.openingProblem, JSON.stringify(fault))
    await store.close()
  }

  /** A store that was opened has what is known to be stored, and of what is not known all up to some change. */
  async #compare ({ queues, tasks, tombstones }: StoredState): Promise<void> {
    const [foundQueues, entries, foundTombstones] = [[...queues], [...tasks], [...tombstones]]
    const found: Content = {
      queues: new Map(foundQueues.map(queue => [queue.name, queue])),
      tasks: new Map(entries.map(({ name }) => [name, this.#store.getTask(name)!])),
      tombstones: new Map(foundTombstones.map(({ name, until }) => [name, until]))
    }
    deepEqual([foundQueues.length, entries.length, foundTombstones.length], [found.queues.size, found.tasks.size, found.tombstones.size])
    for (const { name, scheduleAt, createdAt } of entries) {
      const task = found.tasks.get(name)
      deepEqual({ scheduleAt, createdAt }, { scheduleAt: task?.scheduleAt, createdAt: task?.createdAt }, name)
    }
    const unknown = this.#changes.filter(({ outcome }) => outcome === 'unknown')
    let known = 0
    for (; known < unknown.length && !isEqual(found, this.#expected(unknown.slice(0, known))); known++);
    deepEqual(found, this.#expected(unknown.slice(0, known)), `${unknown.length} changes are unknown`)
    await this.#adopt(unknown.slice(0, known))
  }

  /** The next process begins with it. */
  async #adopt (stored: readonly Change[]): Promise<void> {
    const content = this.#expected(stored)
    for (const change of this.#changes) {
      this.outcomes[change.outcome]++
      if (change.outcome === 'stored' || stored.includes(change)) await change.onStore(this.#memory)
    }
    this.#changes = []
    this.#content = content
    const { queues, tasks, tombstones } = await this.#memory.load()
    deepEqual({
      queues: new Map([...queues].map(queue => [queue.name, queue])),
      tasks: new Map([...tasks].map(({ name }) => [name, this.#memory.getTask(name)])),
      tombstones: new Map([...tombstones].map(({ name, until }) => [name, until]))
    }, content, 'the store in memory')
  }

  /** @param outcomes of other changes that count */
  #expected (known: readonly Change[] = [], outcomes: readonly Outcome[] = ['pending', 'stored']): Content {
    const content = {
      queues: new Map(this.#content.queues), tasks: new Map(this.#content.tasks), tombstones: new Map(this.#content.tombstones)
    }
    for (const change of this.#changes) {
      if (outcomes.includes(change.outcome) || known.includes(change)) change.onModel(content)
    }
    return content
  }

  #put (tasks: readonly Task[]): void {
    this.#change(content => {
      for (const task of tasks) {
        if (!content.queues.has(queueNameOf(task.name))) throw new Error(`${task.name} is stored in a queue that is not`)
        content.tasks.set(task.name, task)
      }
    }, store => tasks.length === 1 ? store.putTask(tasks[0]!) : store.putTasks(tasks))
  }

  #change (onModel: Change['onModel'], onStore: Change['onStore']): void {
    const change: Change = { onModel, onStore, outcome: 'pending' }
    this.#changes.push(change)
    const disk = this.#disk
    const wasBroken = this.#broken.has(disk)
    const isRefused = wasBroken || disk.hasBrokenBatches
    const settle = (outcome: Outcome): void => { if (change.outcome === 'pending') change.outcome = outcome }
    onStore(this.#store).then(() => {
      settle('stored')
      if (isRefused) this.#surprises.push(new Error('stored after a failure that leaves the state of the disk unknown'))
    }, (error: StoreError) => {
      const isOfBrokenStore = error.problem === 'broken' || error.problem === 'inUse'
      settle(isOfBrokenStore && disk.mayHoldMore && !wasBroken ? 'unknown' : 'rejected')
      if (isOfBrokenStore) this.#broken.add(disk)
      const { explained } = disk
      if (disk.hasBrokenBatches) explained.add('broken')
      const isExplained = error.problem === undefined
        ? error.message.startsWith('The store has no queue') && explained.size > 0
        : explained.has(error.problem)
      if (!isExplained) this.#surprises.push(error)
    })
  }

  #newTask (name: string, size: number): Task {
    return newTask(name, { scheduleAt: now + ++this.#count, httpRequest: { url: 'http://localhost/', body: Buffer.alloc(size, name) } })
  }
}

function isEqual (a: unknown, b: unknown): boolean {
  try {
    deepEqual(a, b)
    return true
  } catch {
    return false
  }
}

/** Whoever waits for a promise that is settled has gone on, and no input or output has. */
function promisesSettled (): Promise<void> {
  return new Promise(resolve => { process.nextTick(resolve) })
}

function nextTurn (): Promise<void> {
  return new Promise(resolve => { setImmediate(resolve) })
}
