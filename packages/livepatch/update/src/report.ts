import type { ToldReason } from '@kmend/protocol';
import type { PlannedCve } from './plan.ts';

/**
 * What became of a fix. `livepatched`: it is in the livepatch. `waiting`: a person must review it. `rejected`: one has,
 * and said no. `refused`: it cannot be built, or not with the others. `set-aside`: with it, a livepatch failed its
 * proof. `nothing-to-patch`: it changes no code that a running kernel still runs. `not-built`: this kernel is not built
 * from it.
 */
export type FixState =
  | 'livepatched'
  | 'waiting'
  | 'rejected'
  | 'refused'
  | 'set-aside'
  | 'nothing-to-patch'
  | 'not-built';

/** A reason as a report shows it. */
export type ShownReason = Pick<ToldReason, 'code' | 'message'>;

/** One fix of an update, as a report has it. */
export interface ReportedFix {
  readonly id: string;
  readonly state: FixState;
  /** Files of the update that it consists of. */
  readonly paths: readonly string[];
  /** Of these headers only parts. */
  readonly inPart: readonly string[];
  /** Names its change in the inbox for reviews. */
  readonly key?: string | undefined;
  /** Why it is not in the livepatch; of one that a person accepted, what was accepted. */
  readonly reasons: readonly ShownReason[];
}

/**
 * What became of a CVE. As its fixes; `in-part`: only a part of one of its files is in the livepatch; `not-tried`: not
 * all its files were built. The others: as in the plan, nothing says where its fix is.
 */
export type CveState =
  | Exclude<FixState, 'not-built'>
  | 'in-part'
  | 'not-tried'
  | Exclude<PlannedCve['attribution'], 'files'>;

export interface ReportedCve extends PlannedCve {
  readonly state: CveState;
  /** Fixes that its files are in. */
  readonly fixes: readonly string[];
}

/**
 * What became of the CVEs of a plan. One is `livepatched` only if all its files that this kernel is built from are in
 * the livepatch whole.
 */
export function reportedCves(cves: readonly PlannedCve[], fixes: readonly ReportedFix[]): ReportedCve[] {
  return cves.map((cve) => {
    const concerned = fixes.filter(({ paths }) => cve.files.some((path) => paths.includes(path)));
    const state = cve.attribution === 'files' ? stateOf(cve.files, concerned) : cve.attribution;
    return { ...cve, state, fixes: concerned.map(({ id }) => id) };
  });
}

/** In the order in which they count: the first that holds for one file holds for the CVE. */
const ORDER = [
  'not-tried',
  'refused',
  'set-aside',
  'rejected',
  'in-part',
  'waiting',
  'livepatched',
  'nothing-to-patch',
] as const;

function stateOf(files: readonly string[], fixes: readonly ReportedFix[]): CveState {
  const states = new Set(
    files.map((path): (typeof ORDER)[number] => {
      const having = fixes.filter(({ paths }) => paths.includes(path));
      const whole = having.find(({ inPart }) => !inPart.includes(path));
      if (having.length === 0 || whole?.state === 'not-built') return 'not-tried';
      return whole?.state ?? 'in-part';
    }),
  );
  return ORDER.find((state) => states.has(state)) ?? 'not-tried';
}
