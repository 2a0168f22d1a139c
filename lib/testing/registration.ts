import type { FastifyInstance } from 'fastify'
import { FST_TASKS_KIT_EXISTS, FST_TASKS_KIT_UNAVAILABLE, FST_TASKS_NOT_FOR_PRODUCTION } from '../errors.js'
import { chainOf, isClosing, isStarted } from '../fastify-internals.js'
import { handleOf, onRegistration, registrationsOf, type PluginHandle } from '../plugin-handle.js'
import type { TaskDefinitions } from '../registry/definitions.js'

/** Kits by the handle of their registration. */
const kits = new WeakMap<PluginHandle, object>()
const waitingKits = new WeakMap<object, Set<TaskDefinitions | undefined>>()

/** The registration of a test kit. It may be registered later, while the app's plugins load. */
export class Registration {
  readonly #app: FastifyInstance
  readonly #tasks: TaskDefinitions | undefined
  readonly #kit: object
  readonly #onFound: (handle: PluginHandle) => void
  #handle: PluginHandle | undefined
  #stopWaiting = (): void => {}

  /**
   * @param tasks selects one of several registrations
   * @param kit the only kit of the registration
   * @param onFound called once, in the constructor or later
   * @throws FST_TASKS_KIT_UNAVAILABLE, FST_TASKS_KIT_EXISTS, FST_TASKS_NOT_FOR_PRODUCTION
   */
  constructor (app: FastifyInstance, tasks: TaskDefinitions | undefined, kit: object, onFound: (handle: PluginHandle) => void) {
    this.#app = app
    this.#tasks = tasks
    this.#kit = kit
    this.#onFound = onFound
    if (process.env.NODE_ENV === 'production') {
      throw new FST_TASKS_NOT_FOR_PRODUCTION(
        "NODE_ENV is 'production', and a test kit keeps all tasks of its app from being delivered; set NODE_ENV to 'test'")
    }
    if (typeof app?.ready !== 'function') {
      throw new FST_TASKS_KIT_UNAVAILABLE('testTasks(app) requires a Fastify instance; await the function that builds it')
    }
    if (isClosing(app)) throw new FST_TASKS_KIT_UNAVAILABLE('the app was closed; build another for each test')
    const above = handleOf(app)
    if (above !== undefined && this.#fits(above)) {
      this.#take(above)
      return
    }
    const [below, other] = registrationsOf(app).filter(handle => this.#fits(handle) && isBelow(handle.app, app))
    if (other !== undefined) throw several()
    if (below !== undefined) {
      this.#take(below)
      return
    }
    if (isStarted(app)) throw new FST_TASKS_KIT_UNAVAILABLE(this.#missing())
    this.#wait()
  }

  get handle (): PluginHandle | undefined {
    return this.#handle
  }

  /** @throws FST_TASKS_KIT_UNAVAILABLE before the plugin has loaded */
  required (call: string): PluginHandle {
    if (this.#handle === undefined) {
      const notYet = isStarted(this.#app) ? '' : `, or it has not loaded yet; await app.ready() before ${call}`
      throw new FST_TASKS_KIT_UNAVAILABLE(this.#missing() + notYet)
    }
    return this.#handle
  }

  end (): void {
    this.#stopWaiting()
    if (this.#handle !== undefined && kits.get(this.#handle) === this.#kit) kits.delete(this.#handle)
  }

  #wait (): void {
    const waiting = waitingKits.get(this.#app) ?? new Set()
    waitingKits.set(this.#app, waiting)
    if (waiting.has(this.#tasks)) throw new FST_TASKS_KIT_EXISTS()
    waiting.add(this.#tasks)
    const stopListening = onRegistration(this.#app, handle => { this.#registered(handle) })
    let isOver = false
    this.#stopWaiting = () => {
      isOver = true
      waiting.delete(this.#tasks)
      stopListening()
    }
    // Otherwise the app would send tasks that the test takes for held.
    this.#app.addHook('onReady', async () => {
      if (!isOver && this.#handle === undefined) throw new FST_TASKS_KIT_UNAVAILABLE(this.#missing())
    })
  }

  #registered (handle: PluginHandle): void {
    if (!this.#fits(handle) || !isBelow(handle.app, this.#app)) return
    if (this.#handle !== undefined) throw several()
    this.#take(handle)
  }

  #take (handle: PluginHandle): void {
    if (kits.has(handle)) throw new FST_TASKS_KIT_EXISTS()
    kits.set(handle, this.#kit)
    this.#handle = handle
    this.#onFound(handle)
  }

  /** Whether it has the requested definitions. */
  #fits ({ registry }: PluginHandle): boolean {
    return Object.entries(this.#tasks ?? {}).every(([name, { payload }]) => registry.get(name)?.payload === payload)
  }

  #missing (): string {
    return `the plugin is not registered on this app${this.#tasks === undefined ? '' : ' with these tasks'}`
  }
}

function several (): Error {
  return new FST_TASKS_KIT_UNAVAILABLE('this app has several registrations of the plugin; choose one by its tasks, testTasks(app, ' +
    'tasks), or pass the instance that it is registered on')
}

function isBelow (app: FastifyInstance, above: FastifyInstance): boolean {
  for (const instance of chainOf(app)) if (instance === above) return true
  return false
}
