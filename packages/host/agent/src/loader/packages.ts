import { errorCode } from '@kmend/base';
import type { LivepatchStatus } from '@kmend/protocol';
import { AgentError } from '../error.ts';
import { kmendLivepatches } from '../kernel/livepatch.ts';
import { errorData } from '../log.ts';
import { measurePackages, readPackages } from '../stack/program.ts';
import { packagesDrive, stackOf } from '../stack/stack.ts';
import type { Loader } from './context.ts';

export interface PackagesSeen {
  /** `undefined`: their loader is not installed, or cannot be understood. */
  readonly status: LivepatchStatus | undefined;
  readonly drive: boolean;
}

/**
 * What packages do here now, kept where the fetcher sees it. A loader that cannot be understood is no reason to keep a
 * withdrawn livepatch in force: it only bars loads (`assertMine`).
 */
export async function lookAtPackages(loader: Loader): Promise<PackagesSeen> {
  const { edges, observed, store } = loader;
  try {
    const status = await readPackages(edges);
    const stack = status === undefined ? null : stackOf(status, await measurePackages(edges), store.journal);
    const names = status === undefined ? [] : await kmendLivepatches(edges);
    const before = JSON.stringify([observed.value.stack, observed.value.shown]);
    if (JSON.stringify([stack, names]) !== before) await observed.save({ ...observed.value, stack, shown: names });
    return { status, drive: packagesDrive(status, store.journal) };
  } catch (error) {
    if (errorCode(error) !== 'packages-unreadable') throw error;
    loader.log('warn', 'cannot read the state of the packages', errorData(error));
    if (observed.value.stack !== null) await observed.save({ ...observed.value, stack: null, shown: [] });
    return { status: undefined, drive: false };
  }
}

/**
 * Throws `conflict-packages` where the packages drive this host, and `packages-unreadable` where that is unknown. Asked
 * right before a load.
 */
export async function assertMine({ edges, store }: Loader): Promise<void> {
  if (packagesDrive(await readPackages(edges), store.journal)) throw drivenByPackages();
}

export function drivenByPackages(): AgentError {
  return new AgentError('conflict-packages', 'the packages drive this host: the agent loads nothing', {
    hint: 'kmend-agent consolidate replaces their stack by one livepatch of the agent; or remove the agent',
  });
}
