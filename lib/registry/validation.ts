/** What a validator says of one place in a payload, in ajv's form. */
export interface ValidationFault {
  readonly keyword?: string | undefined
  readonly instancePath?: string | undefined
  /** The validator's own words, which may quote the payload. */
  readonly message?: string | undefined
  readonly params?: Readonly<Record<string, unknown>> | undefined
  /** What is said of it where the payload must not be quoted; undefined leaves it to `message`. */
  readonly rule?: string | undefined
}

/** `faults` is undefined when the value is a payload; empty when it is none and the validator does not say why in a known form. */
export type Validation =
  | { readonly faults?: undefined, readonly value: unknown }
  | { readonly faults: readonly ValidationFault[], readonly cause?: unknown }

/** Never throws or rejects: a validator that does says that the value is no payload. */
export type Validate = (value: unknown) => Validation | Promise<Validation>
