/** The JSON pointer of `key` below `parent`. */
export function under (parent, key) {
  return `${parent}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/** A pointer in JavaScript notation: `order.items[2].price`; '' for the root. */
export function readable (pointer) {
  return keys(pointer).map((key, index) => {
    if (/^\d+$/.test(key)) return `[${key}]`
    if (/^[\p{L}_$][\p{L}\p{N}_$-]*$/u.test(key)) return index === 0 ? key : `.${key}`
    return `[${JSON.stringify(key)}]`
  }).join('')
}

export function keys (pointer) {
  return pointer.split('/').slice(1).map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'))
}
