/**
 * The answer to CreateTask by the paths of Firebase's emulator, which have no version. firebase-admin for Node.js reads the task as
 * Cloud Tasks answers it; that for Python reads what Firebase's emulator answers: a task below `task`, whose name begins with a slash.
 */
export function firebaseTask (json: unknown): object {
  const task = json as { readonly name?: string }
  return { ...task, task: { ...task, name: `/${task.name}` } }
}
