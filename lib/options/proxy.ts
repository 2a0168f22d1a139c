/**
 * Which variable of the environment sends a request through a proxy, for messages that blame one. The libraries that obey these
 * variables differ in what they read. Undefined: the request goes directly. Values are never returned, as they may hold passwords.
 */
type Environment = Readonly<Record<string, string | undefined>>

/** As @grpc/grpc-js reads them, for calls of Cloud Tasks. */
export function grpcProxy (environment: Environment, host: string): string | undefined {
  const rules = environment.no_grpc_proxy || environment.no_proxy
  return listed(rules, rule => host.endsWith(rule)) ? undefined : firstSet(environment, ['grpc_proxy', 'https_proxy', 'http_proxy'])
}

/** As gaxios reads them, for the requests by which Google's libraries get access tokens, that of the metadata server included. */
export function tokenProxy (environment: Environment, host: string | undefined): string | undefined {
  const rules = environment.NO_PROXY ?? environment.no_proxy
  const excluded = listed(rules, rule => /^\*?\./.test(rule) ? host?.endsWith(rule.replace('*', '')) === true : host === rule)
  return excluded ? undefined : firstSet(environment, ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'])
}

/** As the `fetch` of Node.js reads them, for https. Only where NODE_USE_ENV_PROXY says so, which came with Node.js 22.21 and 24. */
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
