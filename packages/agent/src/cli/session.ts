import { bundleFetch, cacheFetch, openRepositoryClient } from '@kmend/trust';
import { loadIdentity } from '../config/identity.ts';
import { loadConfig } from '../config/load.ts';
import { proxySettings } from '../config/proxy.ts';
import { repositoryUrls } from '../config/schema.ts';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { useProxy } from '../edges/proxy.ts';
import { type Fetcher, openFetcher } from '../fetcher/context.ts';
import { type Loader, openLoader } from '../loader/context.ts';
import { createLog } from '../log.ts';
import { type Lock, takeLock, waitForLock } from '../service/lock.ts';
import { trustCertificates } from './certificates.ts';

export interface Logging {
  /** Log lines go to systemd's journal. */
  readonly journal: boolean;
  readonly write: (line: string) => void;
}

export interface LoaderSession {
  readonly loader: Loader;
  readonly lock: Lock;
}

/** Makes this process the one that acts on this host. Close by releasing the lock. `patient`: wait a little for another one to end. */
export async function openLoaderSession(
  edges: Edges,
  { patient, journal, write }: Logging & { readonly patient: boolean },
): Promise<LoaderSession> {
  const identity = await loadIdentity(edges);
  const config = await loadConfig(edges);
  await edges.files.directory(paths.loaderRuntime, 0o750);
  const lock = await (patient ? waitForLock((ms) => edges.clock.sleep(ms), 20) : takeLock());
  try {
    const log = createLog(write, config.logLevel, journal);
    const repository = await openRepositoryClient({
      directory: paths.repository,
      root: paths.trustedRoot,
      url: 'cache:///',
      fetch: cacheFetch(paths.fetched),
      clock: edges.clock,
      // It costs a look into the fetcher's cache: a root that the fetcher has is followed at the next look.
      rootIntervalMs: 0,
    });
    return { loader: await openLoader(edges, config, identity, repository, log), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Longest that one run of the fetcher waits for another, in half seconds. */
const FETCHER_TRIES = 240;

/** The fetcher's half: over the network, or over a bundle that was carried here. */
export async function openFetcherSession(
  edges: Edges,
  env: Readonly<Record<string, string | undefined>>,
  { journal, write, bundle }: Logging & { readonly bundle?: string },
): Promise<{ readonly fetcher: Fetcher; readonly lock: Lock }> {
  const identity = await loadIdentity(edges);
  const config = await loadConfig(edges);
  const urls = repositoryUrls(config);
  if (bundle === undefined) {
    await trustCertificates([config.server, ...urls], config.caFile);
    useProxy(proxySettings(config, env));
  }
  const repository = await openRepositoryClient({
    directory: paths.fetched,
    root: paths.trustedRoot,
    clock: edges.clock,
    ...(bundle === undefined ? { url: urls, fetch: edges.fetch } : { url: 'bundle:///', fetch: bundleFetch(bundle) }),
  });
  const log = createLog(write, config.logLevel, journal);
  const lock = await waitForLock((ms) => edges.clock.sleep(ms), FETCHER_TRIES, paths.fetcherLock);
  try {
    return { fetcher: await openFetcher(edges, config, identity, repository, log, env), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}
