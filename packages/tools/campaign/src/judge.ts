import type { Journal } from '@kmend/agent/journal';
import type { Claims, Observation, Shown } from './observe.ts';
import type { Published } from './rig.ts';

/** What a fault broke. The names are the columns of the campaign's table. */
export type Harm = 'down' | 'unverified' | 'false-protected' | 'journal-lost' | 'not-right';

export interface Finding {
  readonly harm: Harm;
  readonly text: string;
}

/**
 * Nothing unverified in the kernel, no false "protected", no lost journal: holds at every moment, in the middle of a
 * fault too.
 */
export function alwaysHolds(seen: Observation, published: readonly Published[]): Finding[] {
  return [...unverified(seen, published), ...falselyProtected(seen, published), ...journalLost(seen)];
}

function unverified(seen: Observation, published: readonly Published[]): Finding[] {
  const found: string[] = [];
  for (const name of new Set([...seen.foreign, ...seen.enabled]))
    if (!published.some((it) => it.module === name)) found.push(`the kernel took ${name}`);
  for (const sha256 of seen.handed)
    if (!published.some((it) => it.sha256 === sha256))
      found.push(`a file with SHA-256 ${sha256} was handed to the kernel`);
  for (const [name, id] of Object.entries(seen.buildIds))
    if (!published.some((it) => it.module === name && it.buildId === id))
      found.push(`${name} in memory has build id ${id}`);
  return found.map((text) => ({ harm: 'unverified', text }));
}

/** Whether the kernel runs exactly this livepatch for every task, and nothing of kmend's besides. */
export function inForce(shown: readonly Shown[], module: string | undefined): boolean {
  const enabled = shown.filter((it) => it.enabled || it.transition);
  return enabled.length === 1 && enabled[0]?.name === module && !enabled[0]?.transition;
}

/** The serial that the agent calls in force for every task; `null`: it makes no such claim. */
export function claimed({ status, effectiveSerial, exitCode }: Claims): number | null {
  const words = status.loaded.state === 'loaded' && status.transition.state === 'complete';
  return words || exitCode === 0 ? effectiveSerial : null;
}

function falselyProtected(seen: Observation, published: readonly Published[]): Finding[] {
  if (seen.claims === undefined) return [];
  const serial = claimed(seen.claims);
  const fault = (text: string): Finding => ({ harm: 'false-protected', text });
  if (serial === null) return seen.claims.exitCode === 0 ? [fault('exit code 0 without a serial in force')] : [];
  const said = published.find((it) => it.serial === serial);
  const module = said?.module;
  // What changed while the agent was asked may have been either.
  const before = inForce(seen.before, module);
  const after = inForce(seen.after, module);
  if (!before && !after)
    return [fault(`serial ${serial} is said to be in force; sysfs shows ${JSON.stringify(seen.after)}`)];
  if (before && after && said?.fixes === true && seen.effect !== 'fixed')
    return [fault(`serial ${serial} is said to be in force, but the reproducer says "${seen.effect}"`)];
  return [];
}

/** What the patch server shows of a host. */
export interface Told {
  readonly loaded: string;
  readonly transition: string;
  readonly effectiveSerial: number | null;
}

/** The server shows more than there is. A report takes a moment: look again before this counts. */
export function toldTooMuch(told: Told, seen: Observation, published: readonly Published[]): Finding[] {
  const { loaded, transition, effectiveSerial } = told;
  if (loaded !== 'loaded' || transition !== 'complete' || effectiveSerial === null) return [];
  const module = published.find((it) => it.serial === effectiveSerial)?.module;
  if (inForce(seen.before, module) || inForce(seen.after, module)) return [];
  const text = `the server was told that serial ${effectiveSerial} is in force; sysfs shows ${JSON.stringify(seen.after)}`;
  return [{ harm: 'false-protected', text }];
}

function journalLost(seen: Observation): Finding[] {
  const found: string[] = [];
  if (seen.journalProblem !== undefined) found.push(`the journal cannot be read: ${seen.journalProblem}`);
  for (const path of seen.remains) if (path.endsWith('.damaged')) found.push(`${path} is there`);
  return found.map((text) => ({ harm: 'journal-lost', text }));
}

/** The state of a host when a fault is over. */
export type Standing =
  /** What the policy wants is in force, or a person's hold is kept. */
  | { readonly kind: 'right'; readonly text: string }
  /** It is not, but the agent says what a person must do. */
  | { readonly kind: 'person'; readonly text: string }
  | { readonly kind: 'wrong'; readonly text: string };

/**
 * Whether the host has reached its right state, by what the kernel shows, the journal remembers, and the policy wants.
 */
export function standing(seen: Observation, journal: Journal | undefined, wanted: Published): Standing {
  const { claims } = seen;
  if (claims === undefined) return { kind: 'wrong', text: `no status: ${seen.said}` };
  if (journal === undefined) return { kind: 'wrong', text: 'there is no journal' };
  if (seen.system !== 'running')
    return { kind: 'wrong', text: `systemd is ${seen.system}: ${seen.failedUnits.join(' ')}` };
  const nothing = seen.after.every((it) => !it.enabled && !it.transition);
  if (journal.hold !== null && claims.hold !== null)
    return heldRight(seen, journal.hold.kind, nothing)
      ? { kind: 'right', text: `held: ${nothing ? 'nothing' : `serial ${claims.effectiveSerial}`} in force` }
      : { kind: 'wrong', text: `held (${journal.hold.kind}), but ${JSON.stringify(seen.after)}` };
  const quarantine = claims.quarantined.find((it) => it.serial === wanted.serial);
  if (quarantine !== undefined) {
    if (inForce(seen.after, wanted.module))
      return { kind: 'wrong', text: `serial ${wanted.serial} is quarantined, but in force` };
    if (claims.exitCode === 0) return { kind: 'wrong', text: 'quarantined, but exit code 0' };
    const good = journal.good.findLast((it) => claims.quarantined.every(({ serial }) => serial !== it.serial));
    if (good !== undefined && !inForce(seen.after, good.module))
      return { kind: 'wrong', text: `serial ${good.serial} is good, yet not in force; ${JSON.stringify(seen.after)}` };
    const left = good === undefined ? 'nothing' : `serial ${good.serial}`;
    return { kind: 'person', text: `serial ${wanted.serial} is quarantined (${quarantine.code}), ${left} is in force` };
  }
  if (!inForce(seen.after, wanted.module) || (wanted.fixes && seen.effect !== 'fixed'))
    return { kind: 'wrong', text: `serial ${wanted.serial} is wanted; ${JSON.stringify(seen.after)}, ${seen.effect}` };
  if (claimed(claims) !== wanted.serial)
    return {
      kind: 'wrong',
      text: `serial ${wanted.serial} is in force, but the status says ${claims.state}, ${claims.effectiveSerial}`,
    };
  return { kind: 'right', text: `serial ${wanted.serial} in force (${claims.status.verified.state})` };
}

/** `out`: nothing is in force. `stay`: something is, and is reported. */
function heldRight({ after, claims }: Observation, kind: 'out' | 'stay', nothing: boolean): boolean {
  if (kind === 'out') return nothing;
  const name = after.find((it) => it.enabled)?.name;
  return name !== undefined && inForce(after, name) && claims !== undefined && claimed(claims) !== null;
}

/**
 * What was answered with success holds from then on, whatever happens to the process that answered: a revert keeps the
 * livepatch out, and a hold that was lifted is lifted.
 */
export function answerKept(order: string, exitCode: number | undefined, last: Observation): Finding[] {
  if (exitCode !== 0 || last.claims === undefined) return [];
  const held = last.claims.hold !== null;
  const text = `the ${order} was answered with success, but ${held ? 'it is held still' : 'nothing is held any more'}`;
  return (order === 'revert' && !held) || (order === 'resume' && held) ? [{ harm: 'not-right', text }] : [];
}
