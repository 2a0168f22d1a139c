/**
 * The queues that are compared, each behind the same few calls. `needs` names the server that is started for it.
 *
 * @typedef {object} Place
 * @property {string} name of this use: nothing else has it, so that each use starts empty
 * @property {string} directory made anew for this use, for those that keep files
 * @property {number} port of the server, for those that need one
 * @property {string} build of this package
 *
 * @typedef {object} Contender
 * @property {(payload: { n: number, text: string }) => Promise<unknown>} add resolves when the job is as durable as this queue makes it
 * @property {() => Promise<unknown>} work starts calling the handler that `open` was given, for 64 jobs at a time
 * @property {() => Promise<unknown>} close also throws away what is left, where a server keeps it
 *
 * @typedef {(place: Place, handler: () => void) => Promise<Contender>} Open
 */

export const WIDTH = 64

/**
 * `jobs` is for those that would take minutes for as many as the others.
 *
 * @type {Readonly<Record<string, {
 *   module: string, package?: string, needs?: 'redis-always' | 'redis-everysec' | 'postgres', jobs?: number
 * }>>}
 */
export const contenders = {
  'fastify-cloud-tasks': { module: './own.js' },
  'BullMQ, Redis fsync always': { module: './bullmq.js', package: 'bullmq', needs: 'redis-always' },
  'BullMQ, Redis fsync everysec': { module: './bullmq.js', package: 'bullmq', needs: 'redis-everysec' },
  'pg-boss': { module: './pg-boss.js', package: 'pg-boss', needs: 'postgres', jobs: 5000 },
  'graphile-worker': { module: './graphile-worker.js', package: 'graphile-worker', needs: 'postgres', jobs: 5000 },
  'plainjob, SQLite FULL': { module: './plainjob.js', package: 'plainjob' },
  '@platformatic/job-queue, files': { module: './job-queue.js', package: '@platformatic/job-queue', jobs: 1000 }
}
