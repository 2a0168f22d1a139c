/** URL path of a task's route, with prefixes joined as Fastify does: the instance's can end with a slash. */
export function routePath (app: { readonly prefix: string }, prefix: string, path: string): string {
  return (app.prefix.endsWith('/') ? app.prefix.slice(0, -1) : app.prefix) + prefix + path
}
