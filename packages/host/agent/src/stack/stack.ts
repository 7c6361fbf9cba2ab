import type { HostStack, LivepatchMeasure, LivepatchStatus } from '@kmend/protocol';
import type { Journal } from '../state/journal.ts';

/**
 * Whether the packages drive this host, so that the agent loads nothing: their loader has not yielded, and has
 * something in force, or something to load where nothing of the agent is in force, or a person gave the host to them.
 * Pure.
 */
export function packagesDrive(status: LivepatchStatus | undefined, { current, handedOver }: Journal): boolean {
  if (status === undefined || status.yielded) return false;
  if (status.inForce.length > 0) return true;
  const mine = current !== null && current.phase !== 'failed';
  return !mine && (status.installed.length > 0 || handedOver !== null);
}

/** What status, report and console show. Pure. */
export function stackOf(status: LivepatchStatus, measured: LivepatchMeasure, journal: Journal): HostStack {
  const { outcome } = status;
  const drives = packagesDrive(status, journal);
  return {
    strategy: drives ? 'temporary' : 'persistent',
    depth: measured.depth,
    functionsCoveredSeveralTimes: measured.functionsCoveredSeveralTimes,
    memoryBytes: measured.memoryBytes,
    outcome: outcome === null ? null : { code: outcome.code, text: outcome.text.slice(0, 500) },
    exitCode: status.exitCode,
    warning: warningOf(status),
    livepatches: status.inForce.slice(0, 64).map((it) => ({
      module: it.module,
      package: it.package,
      fixes: it.fixes.slice(0, 100).map(({ id }) => id),
      inForce: it.phase !== 'transition' && it.phase !== 'reverting' && it.phase !== 'loading',
    })),
  };
}

/** How deep is too deep the loader says: its limit is the host's to set. */
function warningOf({ warnings }: LivepatchStatus): string | null {
  const deep = warnings.find(({ code }) => code === 'stack-deep');
  return deep === undefined ? null : `${deep.text}: kmend-agent consolidate makes it one livepatch`.slice(0, 500);
}
