/** URL path of a task's route, with the prefixes joined as Fastify joins them: that of an instance may end with a slash. */
export function routePath (app: { readonly prefix: string }, prefix: string, path: string): string {
  return (app.prefix.endsWith('/') ? app.prefix.slice(0, -1) : app.prefix) + prefix + path
}
