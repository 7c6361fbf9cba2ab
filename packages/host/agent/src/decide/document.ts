import type {
  Blocker,
  Channel,
  FixSummary,
  HostStack,
  HostStatus,
  LoadedLivepatch,
  PendingKernel,
} from '@kmend/protocol';
import { loadHost } from '../config/host.ts';
import { loadConfig } from '../config/load.ts';
import type { Edges } from '../edges/edges.ts';
import { AgentError, type ExitCode } from '../error.ts';
import { type ReportState, readReportState } from '../fetcher/report-state.ts';
import { readBootId, readFlaws, readMicrocode } from '../kernel/facts.ts';
import { type HardwareSummary, hardwareSummary } from '../kernel/flaws.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { runningBuildId } from '../kernel/notes.ts';
import { switchedOff } from '../kernel/switch.ts';
import { measurePackages, readPackages } from '../packages/program.ts';
import { stackOf } from '../packages/stack.ts';
import { readContact } from '../seen/contact.ts';
import { type Observed, readObserved } from '../seen/observed.ts';
import { pendingOf } from '../seen/pending.ts';
import { type Hold, holdInForce, type Journal, type Quarantined } from '../state/journal.ts';
import { peekJournal } from '../state/store.ts';
import { type State, stateOf } from '../state/transitions.ts';
import { readManifest } from './manifest.ts';
import { statusOf } from './status.ts';

/** What `kmend-agent status --json` prints. */
export interface StatusDocument {
  readonly schema: 'kmend.agent-status/1';
  readonly hostId: string;
  readonly channel: Channel;
  readonly server: string;
  readonly kernel: { readonly release: string; readonly version: string; readonly buildId: string };
  readonly status: HostStatus;
  readonly state: State;
  readonly effectiveSerial: number | null;
  /** Version of the distribution's kernel whose security fixes are all in force; `null`: not stated. */
  readonly effectiveVersion: string | null;
  readonly chosenSerial: number | null;
  readonly livepatches: readonly LoadedLivepatch[];
  /** Fixes in force for every task. */
  readonly fixes: readonly FixSummary[];
  /** Hardware flaws as this kernel sees them, and what the livepatch in force adds. */
  readonly hardware: HardwareSummary;
  readonly microcode: string | null;
  /** The kernel that a reboot would bring; `null`: the same. */
  readonly pendingKernel: PendingKernel | null;
  /** Why the agent does not act although it could. */
  readonly reason: string | null;
  /** When that is looked at again, where it ends by itself. */
  readonly wakeAt: string | null;
  readonly problem: Observed['problem'];
  /**
   * What packages do on this host; `null`: their loader is not installed, or `stackProblem` says why it is not known.
   */
  readonly stack: HostStack | null;
  readonly stackProblem: Observed['problem'];
  /** Tasks that hold the transition up. */
  readonly blockers: readonly Blocker[];
  readonly hold: Hold | null;
  /** Why nothing is loaded in this boot. */
  readonly switchedOff: string | null;
  readonly quarantined: readonly Quarantined[];
  readonly metadataExpires: string | null;
  /** Why the server does not take this host's reports; `null`: it does, or was not reached. */
  readonly refusal: ReportState['refusal'];
  readonly exitCode: ExitCode;
}

/** What packages do here, as they say it now. */
async function readStack(edges: Edges, journal: Journal): Promise<Pick<StatusDocument, 'stack' | 'stackProblem'>> {
  try {
    const status = await readPackages(edges);
    const stack = status === undefined ? null : stackOf(status, await measurePackages(edges), journal);
    return { stack, stackProblem: null };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const { code, message, hint } = error;
    const at = edges.clock.now().toISOString();
    return { stack: null, stackProblem: { code, message, at, ...(hint === undefined ? {} : { hint }) } };
  }
}

/** Reads everything from disk and from the kernel; needs no service and changes nothing. */
export async function readStatus(edges: Edges): Promise<StatusDocument> {
  const host = await loadHost(edges);
  const config = await loadConfig(edges);
  const buildId = await runningBuildId(edges);
  const journal = await peekJournal(edges);
  const observed = await readObserved(edges);
  const contact = await readContact(edges);
  const now = edges.clock.now();
  const { stack, stackProblem } = await readStack(edges, journal);
  const kernel = await readKernelView(edges);
  const view = statusOf({ observed, contact, journal, kernel, buildId, bootId: await readBootId(edges), now, stack });
  const manifest = view.effectiveSerial === null ? undefined : await readManifest(edges, buildId, view.effectiveSerial);
  const fixes = manifest?.fixes ?? [];
  return {
    schema: 'kmend.agent-status/1',
    hostId: host.hostId,
    channel: config.channel ?? host.channel,
    server: config.server,
    kernel: { release: edges.machine.release(), version: edges.machine.version(), buildId },
    status: view.status,
    state: stateOf(journal),
    effectiveSerial: view.effectiveSerial,
    effectiveVersion: manifest?.effectiveVersion ?? null,
    chosenSerial: observed.chosen,
    livepatches: view.livepatches,
    fixes,
    hardware: hardwareSummary(await readFlaws(edges), fixes),
    microcode: await readMicrocode(edges),
    pendingKernel: await pendingOf(edges, observed),
    reason: observed.reason,
    wakeAt: observed.wakeAt,
    problem: observed.problem,
    stack,
    stackProblem,
    blockers: observed.blockers,
    hold: holdInForce(journal, buildId, now.getTime()),
    switchedOff: (await switchedOff(edges)) ?? null,
    quarantined: journal.quarantined.filter((it) => it.buildId === buildId),
    metadataExpires: contact.expires,
    refusal: (await readReportState(edges)).refusal,
    exitCode: view.exitCode,
  };
}
