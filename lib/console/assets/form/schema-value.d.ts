/** What `initialValue` knows of a string. */
export interface AboutString {
  readonly format: string | undefined
  readonly schema: { readonly examples?: unknown, readonly minLength?: number, readonly maxLength?: number }
}

export function initialValue (schema: unknown, root: unknown, write?: (about: AboutString) => string): unknown
