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

export interface SessionOptions {
  /** Wait a little for another command to end, rather than give up with `busy`. */
  readonly patient: boolean;
  /** Whether the repository and the server will be asked. */
  readonly online: boolean;
  /** Log lines go to systemd's journal. */
  readonly journal: boolean;
  readonly write: (line: string) => void;
}

/**
 * Makes this process the one actor on this host. Close by releasing the lock.
 */
export async function openSession(edges: Edges, options: SessionOptions): Promise<Session> {
  const identity = await loadIdentity(edges);
  const config = await loadConfig(edges);
  if (options.online) await trustCertificates([config.server, repositoryUrl(config)], config.caFile);
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
