import type { LivepatchStatus } from '@kmend/protocol';
import { AgentError } from '../error.ts';
import { readPackages, takeHost } from '../stack/program.ts';
import type { Attempt } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import { held } from './consolidate.ts';
import { commit, type Loader } from './context.ts';
import { lookAtPackages } from './packages.ts';

/**
 * Gives the host back to its packages (`kmend-agent consolidate --undo`). First the journal says that the livepatch is
 * theirs: an agent that dies between finds the packages yielding still and its livepatch in the kernel, and goes on
 * with it. Returns the serial that made way; `null`: none.
 */
export async function handOver(loader: Loader, tell: (text: string) => void): Promise<number | null> {
  const { edges, store } = loader;
  const status = packagesToDrive(await readPackages(edges));
  const { current } = store.journal;
  const running = inForce(current);
  if (running !== null && !status.installed.some(({ kind }) => kind === 'cumulative'))
    tell(`${running.module} goes first, then the stack is loaded: for some seconds nothing is in force`);
  await commit(loader, machine.handOver);
  const trouble = await takeHost(edges, running?.module);
  const after = await readPackages(edges);
  if (after === undefined || after.yielded) {
    const why = trouble ?? 'they still yield';
    if (running !== null) await commit(loader, (journal, now) => machine.keep(journal, running, now, why));
    throw failed(`the packages did not take this host over: ${why}`);
  }
  await loader.observed.save({ ...loader.observed.value, reason: 'conflict-packages', wakeAt: null, problem: null });
  await lookAtPackages(loader);
  if (trouble !== undefined) throw failed(`the packages drive this host, with trouble: ${trouble}`);
  return running?.serial ?? null;
}

function failed(message: string): AgentError {
  return new AgentError('packages-failed', message, { hint: 'kmend-livepatch status says why, and what to do' });
}

/** Throws where the packages have nothing that could take over, or are kept from it. */
function packagesToDrive(status: LivepatchStatus | undefined): LivepatchStatus {
  if (status === undefined || status.installed.length === 0) {
    const why = status === undefined ? 'kmend-livepatch is not installed' : 'no package is installed for this kernel';
    throw new AgentError('no-stack', `the packages have nothing to take over with: ${why}`, {
      hint: 'install livepatch-$(uname -r), then run the command again; what is in force stays',
    });
  }
  if (status.hold !== null || status.switchedOff !== null) throw held(status);
  return status;
}

function inForce(current: Attempt | null): Attempt | null {
  if (current === null || current.phase === 'failed') return null;
  if (current.phase === 'soak' || current.phase === 'good') return current;
  throw new AgentError('busy', `${current.module} is in state ${current.phase}`, {
    hint: 'wait until kmend-agent status shows that it ended, then run the command again',
  });
}
