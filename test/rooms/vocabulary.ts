import { runTogether } from '../support/run-together.js'

await runTogether('test/cloud-tasks', 'test/clock', 'test/delivery')
