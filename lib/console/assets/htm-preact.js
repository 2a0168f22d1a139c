import htm from 'htm'
import { h } from 'preact'

export { render } from 'preact'
export { useCallback, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks'

/** JSX as template literals, without a compiler. */
export const html = htm.bind(h)
