import type { HostStack, HostStatus, LoadedLivepatch } from '@kmend/protocol';
import { type ExitCode, exitCodes } from '../error.ts';
import { isOurs, type KernelView, toLoaded } from '../kernel/livepatch.ts';
import type { Contact } from '../observed/contact.ts';
import type { Observed } from '../observed/observed.ts';
import type { SeenState } from '../observed/stored.ts';
import { type Journal, serialOf } from '../state/journal.ts';

export interface Seen {
  /** What the loader saw, and what the fetcher saw. */
  readonly observed: Observed;
  readonly contact: Contact;
  readonly journal: Journal;
  readonly kernel: KernelView;
  readonly buildId: string;
  readonly bootId: string;
  readonly now: Date;
  /** What packages do on this host; `null`: nothing. */
  readonly stack: HostStack | null;
}

export interface StatusView {
  readonly status: HostStatus;
  readonly livepatches: LoadedLivepatch[];
  /** Serial in force for every task; `null` while in transition or with nothing loaded. */
  readonly effectiveSerial: number | null;
  readonly exitCode: ExitCode;
}

const LEAST_STALE_MS = 10 * 60_000;
const STALE_INTERVALS = 3;

/** The five axes from what was seen, and nothing more. Pure. */
export function statusOf(seen: Seen): StatusView {
  const own = ownStatus(seen);
  return seen.stack?.strategy === 'temporary' ? statusOfStack(own, seen.stack, seen) : own;
}

/**
 * The packages drive this host: what of their livepatches is in force they know, and the agent's policy says nothing of
 * it.
 */
function statusOfStack({ status, livepatches }: StatusView, stack: HostStack, { now, kernel }: Seen): StatusView {
  const at = now.toISOString();
  const axis = { since: null, seen: at, detail: 'the packages drive this host' };
  const { depth, exitCode } = stack;
  const isMoving = kernel.livepatches.some((it) => isOurs(it.name) && it.transition);
  const coverage = exitCode === 0 ? 'current' : exitCode === 3 ? 'not-covered' : 'behind';
  return {
    livepatches,
    effectiveSerial: null,
    exitCode: exitCodes[stackAnswers[exitCode] ?? 'failed'],
    status: {
      contact: status.contact,
      coverage: { ...axis, state: coverage },
      loaded: { ...axis, state: depth > 0 ? 'loaded' : 'none' },
      transition: { ...axis, state: isMoving ? 'in-transition' : depth > 0 ? 'complete' : 'none' },
      // Their loader checks signature and hash of what it loads, and knows no package for anything else.
      verified: {
        ...axis,
        state: depth === 0 ? 'none' : stack.livepatches.every((it) => it.package !== null) ? 'verified' : 'unverified',
      },
    },
  };
}

/** What `kmend-livepatch status` ends with means the same. */
const stackAnswers: readonly (keyof typeof exitCodes)[] = ['latest', 'nothingApplied', 'newerAvailable', 'notCovered'];

function ownStatus(seen: Seen): StatusView {
  const { journal, kernel, buildId } = seen;
  const serial = serialOf(journal, buildId);
  const livepatches = kernel.livepatches.slice(0, 64).map((it) => toLoaded(it, serial));
  const ours = livepatches.filter((it) => isOurs(it.name) && it.enabled);
  const moving = kernel.livepatches.some((it) => isOurs(it.name) && it.transition);
  // In mid-replacement two are enabled; neither is in force for every task.
  const settled = ours.length === 1 && !moving ? ours[0] : undefined;
  const at = seen.now.toISOString();
  const attempt = journal.current?.bootId === seen.bootId ? journal.current : null;
  const since = attempt?.began ?? null;
  const failed = ours.length === 0 && attempt?.phase === 'failed';
  const verified = ours.length > 0 && ours.every((it) => isVerified(seen, it.name));
  const status: HostStatus = {
    contact: fresh(seen, seen.contact.contact),
    coverage: coverageNow(seen, Math.max(0, ...ours.map((it) => it.serial ?? 0))),
    loaded: {
      state: ours.length > 0 ? 'loaded' : failed ? 'failed' : 'none',
      since,
      seen: at,
      ...(failed && attempt?.failure ? { detail: attempt.failure.message.slice(0, 1000) } : {}),
    },
    transition: {
      state: moving ? 'in-transition' : ours.length > 0 ? 'complete' : 'none',
      since: attempt?.since ?? null,
      seen: at,
    },
    verified: { state: verified ? 'verified' : ours.length > 0 ? 'unverified' : 'none', since, seen: at },
  };
  return {
    status,
    livepatches,
    effectiveSerial: settled?.serial ?? null,
    exitCode: exitCodeOf(status, settled !== undefined, needsNone(seen, ours.length)),
  };
}

/** Its bytes were compared with the signed ones by this host, in this boot, before the kernel got them. */
function isVerified({ journal, bootId }: Seen, module: string): boolean {
  return [journal.current, journal.previous].some(
    (it) => it !== null && it.module === module && it.bootId === bootId && it.sha256 !== null,
  );
}

/** An axis that was not looked at for long says `unknown`: what was true then may not be now. */
function fresh<S extends string>(
  { contact, now }: Seen,
  axis: SeenState<S> | null,
): { state: S | 'unknown'; since: string | null; seen: string | null; detail?: string } {
  if (axis === null) return { state: 'unknown', since: null, seen: null };
  const { state, since, seen, detail } = axis;
  const age = now.getTime() - Date.parse(seen);
  const limit = Math.max(LEAST_STALE_MS, STALE_INTERVALS * contact.intervalSeconds * 1000);
  // Older than the limit, or from the future: the clock was set back since.
  if (age > limit || age < -LEAST_STALE_MS) {
    return { state: 'unknown', since: seen, seen, detail: `last seen ${state} at ${seen}` };
  }
  return { state, since, seen, ...(detail === undefined ? {} : { detail }) };
}

/** A contact that found the same signed metadata says again what the loader made of it. */
function confirmed({ observed, contact }: Seen): SeenState<'current' | 'behind' | 'not-covered'> | null {
  const { coverage, version } = observed;
  const same = contact.contact?.state === 'ok' && version !== null && contact.version === version;
  if (coverage === null || !same || contact.contact === null) return coverage;
  return contact.contact.seen > coverage.seen ? { ...coverage, seen: contact.contact.seen } : coverage;
}

/** The loader's last word, brought up to date with what was loaded or reverted since. `running`: 0 where nothing is. */
function coverageNow(seen: Seen, running: number): HostStatus['coverage'] {
  const axis = fresh(seen, confirmed(seen));
  const { chosen } = seen.observed;
  if (chosen === null) return axis;
  if (axis.state === 'behind' && running === chosen) return { ...axis, state: 'current' };
  if (axis.state === 'current' && running < chosen) return { ...axis, state: 'behind' };
  return axis;
}

/** The signed policy says that this kernel needs no livepatch yet, and none is there. */
function needsNone({ observed }: Seen, loaded: number): boolean {
  return observed.reason === 'none-needed' && loaded === 0;
}

/** What monitoring acts on: not covered, nothing in force, unknown, behind, latest; the first that holds. */
function exitCodeOf(status: HostStatus, inForce: boolean, noneNeeded: boolean): ExitCode {
  if (status.coverage.state === 'not-covered') return exitCodes.notCovered;
  if (noneNeeded && status.coverage.state === 'current') return exitCodes.latest;
  if (!inForce) return exitCodes.nothingApplied;
  if (status.coverage.state === 'unknown') return exitCodes.unknown;
  return status.coverage.state === 'behind' ? exitCodes.newerAvailable : exitCodes.latest;
}
