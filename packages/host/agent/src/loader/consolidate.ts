import type { Livepatch, LivepatchStatus } from '@kmend/protocol';
import { AgentError } from '../error.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { assertFits, assertLivepatchSupport } from '../kernel/preconditions.ts';
import { assertPreflight } from '../kernel/preflight.ts';
import { readPackages, yieldHost } from '../stack/program.ts';
import { beginConsolidation } from '../state/consolidation.ts';
import { commit, type Loader } from './context.ts';
import { finishConsolidation } from './finish-consolidation.ts';
import { loadCached } from './load.ts';
import { lookAtPackages } from './packages.ts';

/**
 * Replaces the whole stack of the packages by one livepatch of the agent, without a moment between: the kernel's atomic
 * replace. The order: all that can say no; the journal; the packages yield, for this boot alone; the load. The packages
 * yield over boots only once the livepatch is good (finish-consolidation.ts), so a host that goes down before comes
 * back with its packages' stack, and the next run continues after an agent that died before. Throws `not-found` where
 * the fetcher has not brought that livepatch.
 */
export async function consolidate(
  loader: Loader,
  serial: number,
  origin: 'check' | 'order',
  signal: AbortSignal,
): Promise<void> {
  const { edges, buildId, config } = loader;
  assertLivepatchSupport(await readKernelView(edges));
  const { manifest } = await loader.repository.fetchLivepatch(buildId, serial, signal);
  assertFits(manifest, buildId);
  signal.throwIfAborted();
  const stack = stackToReplace(await readPackages(edges));
  assertAnother(stack, manifest);
  await assertNobodyElse(loader, stack);
  assertNothingLost(stack, manifest);
  await assertPreflight(edges, { manifest, buildId }, config.acceptTaint);
  const modules = stack.inForce.map(({ module }) => module);
  await commit(loader, (journal, now) => beginConsolidation(journal, now, loader.bootId, modules));
  try {
    await yieldHost(edges, 'until boot');
    await assertUnchanged(loader, modules);
    await loadCached(loader, serial, origin);
  } catch (error) {
    await finishConsolidation(loader);
    throw error;
  }
  await lookAtPackages(loader);
}

/** A cumulative livepatch may have come as a package too. */
function assertAnother({ inForce }: LivepatchStatus, { module }: Livepatch): void {
  if (!inForce.some((it) => it.module === module)) return;
  throw new AgentError('no-stack', `the packages have ${module} in force, which is what the policy wants`, {
    hint: 'nothing to replace; to let the agent drive: kmend-livepatch yield, then kmend-agent check',
  });
}

/** Throws where there is no stack, or where now is no time to replace it. */
export function stackToReplace(status: LivepatchStatus | undefined): LivepatchStatus {
  if (status === undefined || status.yielded || status.inForce.length === 0) {
    const why =
      status === undefined
        ? 'kmend-livepatch is not installed'
        : status.yielded
          ? 'the agent drives this host already'
          : 'the packages have no livepatch in force';
    throw new AgentError('no-stack', `there is no stack to consolidate: ${why}`, {
      hint: 'kmend-agent status says who drives this host; kmend-agent apply loads what the policy wants',
    });
  }
  if (status.hold !== null || status.switchedOff !== null) throw held(status);
  const moving = status.inForce.find(({ phase }) => phase !== 'good' && phase !== 'unknown');
  if (moving !== undefined) {
    const what = moving.phase === 'soak' ? 'is still in its soak' : `is in state ${moving.phase}`;
    // If the host went down, the cause could not be attributed.
    throw new AgentError('packages-busy', `${moving.module} of the packages ${what}`, {
      hint: 'retry when kmend-livepatch status says "good" for each: 15 to 20 minutes after a load',
    });
  }
  return status;
}

export function held({ hold, switchedOff }: LivepatchStatus): AgentError {
  const why = switchedOff ?? (hold === 'out' ? 'they were reverted by hand' : 'they are held by hand');
  return new AgentError('packages-held', `the packages of this host are held back: ${why}`, {
    hint: 'kmend-livepatch resume lifts a hold; remove /etc/kmend-livepatch/off, or boot without kmend=off',
  });
}

/** Everything in the kernel would be replaced: it has to be the packages', all of it. */
async function assertNobodyElse({ edges }: Loader, { inForce }: LivepatchStatus): Promise<void> {
  const known = new Set(inForce.map(({ module }) => module));
  const stranger = (await readKernelView(edges)).livepatches.find(({ name }) => !known.has(name));
  if (stranger === undefined) return;
  throw new AgentError('conflict-livepatch', `${stranger.name} is in the kernel, and no package brought it`, {
    details: { livepatch: stranger.name },
    hint: 'a cumulative livepatch would replace it: remove it (and what loads it) first, then run the command again',
  });
}

/** No fix that is in force may go. */
function assertNothingLost({ inForce }: LivepatchStatus, { module, fixes }: Livepatch): void {
  const nameless = inForce.find((it) => it.fixes.length === 0);
  if (nameless !== undefined) {
    throw new AgentError('fixes-missing', `the fixes of ${nameless.module} are unknown`, {
      hint: 'install its package again, then kmend-livepatch sync',
    });
  }
  const held = new Set(fixes.map(({ id }) => id));
  const missing = [...new Set(inForce.flatMap((it) => it.fixes.map(({ id }) => id)).filter((id) => !held.has(id)))];
  if (missing.length === 0) return;
  const names = `${missing.slice(0, 50).join(', ')}${missing.length > 50 ? ` and ${missing.length - 50} more` : ''}`;
  throw new AgentError('fixes-missing', `${module} lacks fixes that the stack has in force: ${names}`, {
    details: { missing },
    hint: 'nothing was changed; ask the operator for a cumulative livepatch that has them',
  });
}

/** An upgrade may have come between; from now on none can. */
async function assertUnchanged({ edges }: Loader, modules: readonly string[]): Promise<void> {
  const now = (await readKernelView(edges)).livepatches.map(({ name }) => name);
  if (now.length === modules.length && modules.every((it) => now.includes(it))) return;
  throw new AgentError('packages-busy', 'the stack changed during the check', { hint: 'run the command again' });
}
