/** A validation error for one location in a payload, in ajv's form. */
export interface ValidationFault {
  readonly keyword?: string | undefined
  readonly instancePath?: string | undefined
  /** The validator's message, which can quote the payload. */
  readonly message?: string | undefined
  readonly params?: Readonly<Record<string, unknown>> | undefined
  /** Replaces `message` where the payload must not be quoted. @default `message` */
  readonly rule?: string | undefined
}

/** `faults` is undefined for a valid payload, and empty when the validator's errors do not have a known form. */
export type Validation =
  | { readonly faults?: undefined, readonly value: unknown }
  | { readonly faults: readonly ValidationFault[], readonly cause?: unknown }

/** Never throws or rejects: a validator that does has rejected the value. */
export type Validate = (value: unknown) => Validation | Promise<Validation>
