/**
 * The response to CreateTask on the unversioned paths of Firebase's emulator, for both forms that clients read. firebase-admin for
 * Node.js reads the task as Cloud Tasks returns it; for Python, as Firebase's emulator does: below `task`, its name with a leading slash.
 */
export function firebaseTask (json: unknown): object {
  const task = json as { readonly name?: string }
  return { ...task, task: { ...task, name: `/${task.name}` } }
}
