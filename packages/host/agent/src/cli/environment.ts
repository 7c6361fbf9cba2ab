import * as z from 'zod';

/**
 * What the fetcher takes from an environment, by name (deb/files/environment has the same list): anything else may
 * be a secret of root's, or something that Node itself would obey.
 */
const NAMES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'] as const;

export const FetcherEnvironment = z.partialRecord(z.enum(NAMES), z.string().max(4096));
export type FetcherEnvironment = z.infer<typeof FetcherEnvironment>;

export function fetcherEnvironment(env: Readonly<Record<string, string | undefined>>): FetcherEnvironment {
  return Object.fromEntries(NAMES.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
