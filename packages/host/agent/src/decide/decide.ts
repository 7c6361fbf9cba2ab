import { type Channel, chosenSerial, type FleetPolicy, type KernelPolicy, needsNone } from '@kmend/protocol';
import { holdInForce, isQuarantined, type Journal, lastGood } from '../state/journal.ts';

export interface Situation {
  readonly buildId: string;
  readonly bootId: string;
  readonly hostId: string;
  readonly channel: Channel;
  readonly fleet: FleetPolicy | undefined;
  /** `undefined`: the repository does not cover this kernel. */
  readonly policy: KernelPolicy | undefined;
  readonly journal: Journal;
  /** Milliseconds since 1970, and seconds since boot. */
  readonly now: number;
  readonly uptime: number;
  /** Whether a maintenance window is open, and when the next one opens. */
  readonly window: { readonly open: boolean; readonly opens: Date | null };
  /** Nothing may be loaded in this boot: `kmend=off` or the file switch. */
  readonly switchedOff: boolean;
  /**
   * What packages do here: nothing; they drive this host; they do, and what they have in force is to be replaced by
   * what the policy wants.
   */
  readonly packages: 'none' | 'drive' | 'consolidate';
  /**
   * A person's order: this serial, or (`null`) what the policy wants, now. It stands above windows, delays and holds.
   */
  readonly order?: { readonly serial: number | null } | undefined;
}

export type Reason =
  | 'not-covered'
  | 'nothing-chosen'
  | 'none-needed'
  | 'up-to-date'
  | 'newer-loaded'
  | 'busy'
  | 'halted'
  | 'held'
  | 'quarantined'
  | 'withdrawn'
  | 'window'
  | 'deferred'
  | 'switched-off'
  | 'conflict-packages';

export type Decision =
  /** `wakeAt`: when the reason ends by itself, in milliseconds since 1970. */
  | { readonly kind: 'none'; readonly reason: Reason; readonly wakeAt?: number | undefined }
  | { readonly kind: 'load'; readonly serial: number }
  | { readonly kind: 'revert'; readonly serial: number; readonly reason: string };

export interface Verdict {
  readonly decision: Decision;
  readonly coverage: 'current' | 'behind' | 'not-covered';
  /** Serial the signed policy wants here. */
  readonly chosen: number | null;
}

/** What the signed policy (or a person, as far as it lets him) asks of this host now. Pure. */
export function decide(situation: Situation): Verdict {
  const { policy, journal, order } = situation;
  const driven = situation.packages === 'drive';
  if (policy === undefined) {
    return { decision: none(driven ? 'conflict-packages' : 'not-covered'), coverage: 'not-covered', chosen: null };
  }
  const chosen = chosenSerial(policy, situation.channel, situation.hostId);
  const attempt = journal.current;
  // A failed attempt is not (or no longer) in force; the others are, or are about to be.
  const running =
    attempt !== null && attempt.phase !== 'failed' && attempt.phase !== 'reverting' ? attempt.serial : null;
  const withdrawn = (serial: number | null): string | undefined =>
    policy.withdrawn.find((it) => it.serial === serial)?.reason;
  const gone = withdrawn(running);
  const behind = chosen !== null && (running === null || chosen > running || gone !== undefined);
  const coverage = behind || gone !== undefined ? 'behind' : 'current';
  const context: Context = { ...situation, policy, chosen, running, withdrawn };
  const decision = order === undefined ? byPolicy(context) : byOrder(context, order.serial ?? chosen);
  return { decision, coverage, chosen };
}

interface Context extends Situation {
  readonly policy: KernelPolicy;
  readonly chosen: number | null;
  readonly running: number | null;
  /** Why a serial was withdrawn. */
  withdrawn(serial: number | null): string | undefined;
}

function byPolicy(context: Context): Decision {
  const { journal, chosen, running } = context;
  const phase = journal.current?.phase;
  if (phase === 'loading' || phase === 'reverting') return none('busy');
  const moving = phase === 'transition' || phase === 'replacing';
  const obstacle = chosen === null ? undefined : obstacleTo(context, chosen);
  const gone = context.withdrawn(running);
  if (gone !== undefined && running !== null) {
    // Taking it out is never held back by the kill switch or a window: those stop loads only.
    if (chosen !== null && !moving && (obstacle === undefined || obstacle.reason === 'window'))
      return { kind: 'load', serial: chosen };
    return { kind: 'revert', serial: running, reason: `serial ${running} was withdrawn: ${gone}` };
  }
  if (running === null && context.packages === 'drive') return none('conflict-packages');
  if (chosen === null) return none(needsNone(context.policy, context.channel) ? 'none-needed' : 'nothing-chosen');
  if (running === chosen) return none('up-to-date');
  if (running !== null && running > chosen) return none('newer-loaded');
  // Where packages have a stack in force the host is not without.
  const bare = running === null && context.packages === 'none';
  if (obstacle !== undefined) return (bare ? fallback(context, obstacle) : undefined) ?? obstacle;
  return moving ? none('busy') : { kind: 'load', serial: chosen };
}

/** A person may load what the policy does not withdraw, of what the kill switch lets through. */
function byOrder(context: Context, serial: number | null): Decision {
  const { journal, fleet, buildId, running } = context;
  const phase = journal.current?.phase;
  if (context.packages === 'drive') return none('conflict-packages');
  if (serial === null) return none(needsNone(context.policy, context.channel) ? 'none-needed' : 'nothing-chosen');
  if (running === serial && phase !== undefined) return none('up-to-date');
  if (context.withdrawn(serial) !== undefined) return none('withdrawn');
  if (context.switchedOff) return none('switched-off');
  if (fleet?.halted === true) return none('halted');
  if (isQuarantined(journal, buildId, serial)) return none('quarantined');
  const busy = phase === 'loading' || phase === 'reverting' || phase === 'transition' || phase === 'replacing';
  return busy ? none('busy') : { kind: 'load', serial };
}

/** Where what is wanted is quarantined here (or waits for its transition), the last good one is better than none. */
function fallback(context: Context, obstacle: Decision & { kind: 'none' }): Decision | undefined {
  if (obstacle.reason !== 'quarantined' && obstacle.reason !== 'deferred' && obstacle.reason !== 'window')
    return undefined;
  const { journal, buildId, chosen } = context;
  const last = lastGood(journal, buildId, (it) => context.withdrawn(it) === undefined);
  if (last === undefined || (last.serial === chosen && obstacle.reason !== 'window')) return undefined;
  return { kind: 'load', serial: last.serial };
}

function obstacleTo(context: Context, serial: number): (Decision & { kind: 'none' }) | undefined {
  const { journal, fleet, buildId, bootId, now, uptime, window } = context;
  if (context.switchedOff) return none('switched-off');
  if (fleet?.halted === true) return none('halted');
  const hold = holdInForce(journal, buildId, now);
  if (hold !== null && (hold.untilNewerThan === null || serial <= hold.untilNewerThan)) {
    return none('held', hold.until === null ? undefined : Date.parse(hold.until));
  }
  if (isQuarantined(journal, buildId, serial)) return none('quarantined');
  const { deferred } = journal;
  if (deferred !== null && deferred.buildId === buildId && deferred.serial === serial && deferred.bootId === bootId) {
    const left = deferred.untilUptime - uptime;
    if (left > 0) return none('deferred', now + left * 1000);
  }
  return window.open ? undefined : none('window', window.opens?.getTime());
}

function none(reason: Reason, wakeAt?: number): Decision & { kind: 'none' } {
  return { kind: 'none', reason, ...(wakeAt === undefined ? {} : { wakeAt }) };
}
