import { bundleFetch, cacheFetch, openRepositoryClient } from '@kmend/trust';
import { loadHost, saveHost } from '../config/host.ts';
import { loadIdentity, saveIdentity } from '../config/identity.ts';
import { loadConfig } from '../config/load.ts';
import { proxySettings } from '../config/proxy.ts';
import { repositoryUrls } from '../config/schema.ts';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { useProxy } from '../edges/proxy.ts';
import { type Fetcher, openFetcher } from '../fetcher/context.ts';
import { attentive } from '../fetcher/patience.ts';
import { readMachineId } from '../kernel/machine.ts';
import { assertOwnKernel } from '../kernel/place.ts';
import { type Loader, openLoader } from '../loader/context.ts';
import { createLog } from '../log.ts';
import { type Lock, takeLock, waitForLock } from '../service/lock.ts';
import { sweep } from '../state/sweep.ts';
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

/**
 * Makes this process the one that acts on this host. Close by releasing the lock. `patient`: wait a little for another
 * one to end.
 */
export async function openLoaderSession(
  edges: Edges,
  { patient, journal, write }: Logging & { readonly patient: boolean },
): Promise<LoaderSession> {
  await assertOwnKernel(edges);
  const identity = await loadHost(edges);
  const config = await loadConfig(edges);
  await edges.files.directory(paths.loaderRuntime, 0o750);
  const lock = await (patient ? waitForLock((ms) => edges.clock.sleep(ms), 20) : takeLock());
  try {
    if (!(await edges.files.exists(paths.host))) await saveHost(edges, identity);
    for (const directory of [paths.loader, paths.loaderRuntime]) await sweep(edges, directory);
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
    return { loader: await openLoader({ edges, config, identity, repository, log }), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Longest that one run of the fetcher waits for another, in half seconds. */
const FETCHER_TRIES = 240;

/** The fetcher's half: over the network, or over a bundle that was carried here. */
export async function openFetcherSession(
  given: Edges,
  env: Readonly<Record<string, string | undefined>>,
  { journal, write, bundle }: Logging & { readonly bundle?: string },
): Promise<{ readonly fetcher: Fetcher; readonly lock: Lock }> {
  const { fetch, pauseMs } = attentive(given.fetch, given.clock);
  const edges = { ...given, fetch };
  const stored = await loadIdentity(edges);
  // An earlier agent did not note whose it is.
  const identity = { ...stored, machine: stored.machine ?? (await readMachineId(edges)) };
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
    if (identity.machine !== stored.machine) await saveIdentity(edges, identity);
    for (const directory of [paths.fetcher, paths.fetcherRuntime]) await sweep(edges, directory);
    return { fetcher: await openFetcher({ edges, config, identity, repository, log, env, pauseMs }), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}
