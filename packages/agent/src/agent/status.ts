import type { Channel, HostStatus, LoadedLivepatch } from '@kmend/protocol';
import { loadIdentity } from '../config/identity.ts';
import { loadConfig } from '../config/load.ts';
import { statusOf } from '../decide/status.ts';
import type { Edges } from '../edges/edges.ts';
import type { ExitCode } from '../error.ts';
import { readBootId } from '../kernel/facts.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { runningBuildId } from '../kernel/notes.ts';
import type { Hold, Quarantined } from '../state/journal.ts';
import { type State, stateOf } from '../state/machine.ts';
import { peekJournal } from '../state/store.ts';
import { type Observed, readObserved } from './observed.ts';

/** What `kmend-agent status --json` prints. */
export interface StatusDocument {
  readonly schema: 'kmend.agent-status/1';
  readonly hostId: string;
  readonly channel: Channel;
  readonly server: string;
  readonly kernel: { readonly release: string; readonly buildId: string };
  readonly status: HostStatus;
  readonly state: State;
  readonly effectiveSerial: number | null;
  readonly chosenSerial: number | null;
  readonly livepatches: readonly LoadedLivepatch[];
  /** Why the agent does not act although it could. */
  readonly reason: string | null;
  readonly problem: Observed['problem'];
  readonly hold: Hold | null;
  readonly quarantined: readonly Quarantined[];
  readonly exitCode: ExitCode;
}

/** Reads everything from disk and from the kernel; needs no service and changes nothing. */
export async function readStatus(edges: Edges): Promise<StatusDocument> {
  const identity = await loadIdentity(edges);
  const config = await loadConfig(edges);
  const buildId = await runningBuildId(edges);
  const journal = await peekJournal(edges);
  const observed = await readObserved(edges);
  const view = statusOf({
    observed,
    journal,
    kernel: await readKernelView(edges),
    buildId,
    bootId: await readBootId(edges),
    now: edges.clock.now(),
  });
  return {
    schema: 'kmend.agent-status/1',
    hostId: identity.hostId,
    channel: config.channel ?? identity.channel,
    server: config.server,
    kernel: { release: edges.machine.release(), buildId },
    status: view.status,
    state: stateOf(journal),
    effectiveSerial: view.effectiveSerial,
    chosenSerial: observed.chosen,
    livepatches: view.livepatches,
    reason: observed.reason,
    problem: observed.problem,
    hold: journal.hold,
    quarantined: journal.quarantined.filter((it) => it.buildId === buildId),
    exitCode: view.exitCode,
  };
}
