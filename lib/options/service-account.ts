/** Check for options that contain the e-mail address of a service account. */
export const serviceAccount = {
  valid: (email: string): boolean => /^[^\s@:]+@[^\s@:]+$/.test(email),
  must: 'must be the e-mail address of a service account, such as tasks@PROJECT.iam.gserviceaccount.com'
}
