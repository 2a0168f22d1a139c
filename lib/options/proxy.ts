/**
 * Finds the environment variable that sends a request through a proxy, for error messages. Libraries differ in the variables that they
 * read. Undefined: the request uses no proxy. Values are never returned, as they can contain passwords.
 */
type Environment = Readonly<Record<string, string | undefined>>

/** As @grpc/grpc-js reads them, for calls to Cloud Tasks. */
export function grpcProxy (environment: Environment, host: string): string | undefined {
  const rules = environment.no_grpc_proxy || environment.no_proxy
  return listed(rules, rule => host.endsWith(rule)) ? undefined : firstSet(environment, ['grpc_proxy', 'https_proxy', 'http_proxy'])
}

/** As gaxios reads them, for requests for access tokens, including those to the metadata server. */
export function tokenProxy (environment: Environment, host: string | undefined): string | undefined {
  const rules = environment.NO_PROXY ?? environment.no_proxy
  const excluded = listed(rules, rule => /^\*?\./.test(rule) ? host?.endsWith(rule.replace('*', '')) === true : host === rule)
  return excluded ? undefined : firstSet(environment, ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'])
}

/** As the `fetch` of Node.js reads them, for https. Requires NODE_USE_ENV_PROXY, which Node.js has since 22.21 and 24. */
export function fetchProxy (environment: Environment, host: string): { readonly variable: string, readonly used: boolean } | undefined {
  const rules = environment.no_proxy ?? environment.NO_PROXY
  const excluded = listed(rules, rule => rule === '*' || host.endsWith(rule.replace(/^\*/, '')))
  const variable = excluded ? undefined : firstSet(environment, ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'])
  return variable === undefined ? undefined : { variable, used: environment.NODE_USE_ENV_PROXY === '1' }
}

function firstSet (environment: Environment, variables: readonly string[]): string | undefined {
  return variables.find(variable => environment[variable])
}

function listed (rules: string | undefined, matches: (rule: string) => boolean): boolean {
  return rules?.split(',').map(rule => rule.trim()).some(rule => rule !== '' && matches(rule)) === true
}
