import { openRepositoryClient } from '@kmend/trust';
import { type Agent, openAgent } from '../agent/context.ts';
import { loadIdentity } from '../config/identity.ts';
import { loadConfig } from '../config/load.ts';
import { repositoryUrl } from '../config/schema.ts';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { createLog } from '../log.ts';
import { type Lock, takeLock, waitForLock } from '../service/lock.ts';
import { trustCertificates } from './certificates.ts';

export interface Session {
  readonly agent: Agent;
  readonly lock: Lock;
}

/**
 * Makes this process the one actor on this host. `patient`: wait a little for another command to end, rather than give up
 * with `busy`. Close by releasing the lock.
 */
export async function openSession(
  edges: Edges,
  options: { readonly patient: boolean; readonly journal: boolean; readonly write: (line: string) => void },
): Promise<Session> {
  const identity = await loadIdentity(edges);
  const config = await loadConfig(edges);
  await trustCertificates(config.caFile);
  await edges.files.directory(paths.runtime, 0o700);
  const lock = await (options.patient ? waitForLock((ms) => edges.clock.sleep(ms), 20) : takeLock());
  try {
    const log = createLog(options.write, config.logLevel, options.journal);
    const repository = await openRepositoryClient({
      directory: paths.repository,
      root: paths.trustedRoot,
      url: repositoryUrl(config),
      fetch: edges.fetch,
      clock: edges.clock,
    });
    return { agent: await openAgent(edges, config, identity, repository, log), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}
