import htm from 'htm'
import { h } from 'preact'

export { render } from 'preact'
export { useCallback, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks'

/** JSX as a template literal, which needs no compiler. */
export const html = htm.bind(h)
