/** Lets Node.js load the TypeScript of this repository: `node --import=./test/loader/register.js FILE`. */
import { register } from 'node:module'

process.setSourceMapsEnabled(true)
register('./hooks.js', import.meta.url)
