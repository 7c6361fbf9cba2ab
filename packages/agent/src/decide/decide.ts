import { type Channel, chosenSerial, type FleetPolicy, type KernelPolicy } from '@kmend/protocol';
import { isQuarantined, type Journal } from '../state/journal.ts';

export interface Situation {
  readonly buildId: string;
  readonly hostId: string;
  readonly channel: Channel;
  readonly fleet: FleetPolicy | undefined;
  /** `undefined`: the repository does not cover this kernel. */
  readonly policy: KernelPolicy | undefined;
  readonly journal: Journal;
}

export type Reason =
  | 'not-covered'
  | 'nothing-chosen'
  | 'up-to-date'
  | 'newer-loaded'
  | 'busy'
  | 'halted'
  | 'held'
  | 'quarantined';

export type Decision =
  | { readonly kind: 'none'; readonly reason: Reason }
  | { readonly kind: 'load'; readonly serial: number }
  | { readonly kind: 'revert'; readonly serial: number; readonly reason: string };

export interface Verdict {
  readonly decision: Decision;
  readonly coverage: 'current' | 'behind' | 'not-covered';
  /** Serial the signed policy wants here. */
  readonly chosen: number | null;
}

/** What the signed policy asks of this host now. Pure. */
export function decide(situation: Situation): Verdict {
  const { policy, journal } = situation;
  if (policy === undefined) return verdict({ kind: 'none', reason: 'not-covered' }, 'not-covered', null);
  const chosen = chosenSerial(policy, situation.channel, situation.hostId);
  const attempt = journal.current;
  // A failed attempt is not (or no longer) in force; the others are, or are about to be.
  const running =
    attempt !== null && attempt.phase !== 'failed' && attempt.phase !== 'reverting' ? attempt.serial : null;
  const withdrawn = running === null ? undefined : policy.withdrawn.find((it) => it.serial === running);
  const behind = chosen !== null && (running === null || chosen > running || withdrawn !== undefined);
  const coverage = behind || withdrawn !== undefined ? 'behind' : 'current';
  return verdict(decision(situation, chosen, running, withdrawn?.reason), coverage, chosen);
}

function verdict(what: Decision, coverage: Verdict['coverage'], chosen: number | null): Verdict {
  return { decision: what, coverage, chosen };
}

function decision(
  { journal, fleet, buildId }: Situation,
  chosen: number | null,
  running: number | null,
  withdrawn: string | undefined,
): Decision {
  const phase = journal.current?.phase;
  if (phase === 'loading' || phase === 'reverting') return none('busy');
  const obstacle = chosen === null ? undefined : obstacleTo(journal, fleet, buildId, chosen);
  if (withdrawn !== undefined && running !== null) {
    // Taking it out is never held back by the kill switch: that stops loads only.
    const canReplace = chosen !== null && obstacle === undefined && phase !== 'transition' && phase !== 'replacing';
    if (canReplace) return { kind: 'load', serial: chosen };
    return { kind: 'revert', serial: running, reason: `serial ${running} was withdrawn: ${withdrawn}` };
  }
  if (chosen === null) return none('nothing-chosen');
  if (running === chosen) return none('up-to-date');
  if (running !== null && running > chosen) return none('newer-loaded');
  if (obstacle !== undefined) return none(obstacle);
  if (phase === 'transition' || phase === 'replacing') return none('busy');
  return { kind: 'load', serial: chosen };
}

function obstacleTo(
  journal: Journal,
  fleet: FleetPolicy | undefined,
  buildId: string,
  serial: number,
): Reason | undefined {
  if (fleet?.halted === true) return 'halted';
  const { hold } = journal;
  if (hold !== null && hold.buildId === buildId && (hold.untilNewerThan === null || serial <= hold.untilNewerThan)) {
    return 'held';
  }
  return isQuarantined(journal, buildId, serial) ? 'quarantined' : undefined;
}

function none(reason: Reason): Decision {
  return { kind: 'none', reason };
}
