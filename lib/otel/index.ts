export { CloudTasksInstrumentation, type CloudTasksInstrumentationConfig } from './instrumentation.js'
