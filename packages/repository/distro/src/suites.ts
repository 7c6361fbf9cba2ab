import type { DepotKernel, Entry, State } from './depot/schema.ts';
import { entryOf } from './livepatch-package.ts';

/**
 * `early` has everything at once, `updates` what is for more than the hosts that follow `early`, `security` of that
 * fixes of CVEs (and their dependencies).
 */
export const SUITES = ['early', 'updates', 'security'] as const;
export type Suite = (typeof SUITES)[number];

/** States that stay on offer, for hosts that are pinned to an earlier one. */
const KEPT_STATES = 50;

/** What a suite offers for a kernel. */
export interface Offer {
  readonly kernel: DepotKernel;
  /** Oldest first; each a version of the metapackage. */
  readonly states: readonly State[];
  /** All that these states need. */
  readonly entries: readonly Entry[];
}

export function offerOf(kernel: DepotKernel, suite: Suite): Offer {
  const states = (suite === 'early' ? kernel.states : forAll(kernel.states))
    .filter(
      (state, index, all) => !state.withdrawn && (suite !== 'security' || isSecurity(kernel, state, all[index - 1])),
    )
    .slice(-KEPT_STATES);
  const entries = new Set<Entry>();
  for (const { head } of states) {
    for (let entry = entryOf(kernel, head); entry !== undefined; entry = entryOf(kernel, entry.below))
      entries.add(entry);
  }
  return { kernel, states, entries: [...entries] };
}

/** Without the newest ones that no host is to take but those that follow `early`. */
function forAll(states: readonly State[]): readonly State[] {
  return states.slice(0, states.findLastIndex(({ phase, withdrawn }) => phase !== 0 && !withdrawn) + 1);
}

/** A withdrawal is for every host that may have the livepatch. */
function isSecurity(kernel: DepotKernel, { head }: State, before: State | undefined): boolean {
  if (head === undefined || before?.withdrawn) return true;
  return entryOf(kernel, head)?.fixes.some(({ id }) => isCve(id)) ?? false;
}

export function isCve(id: string): boolean {
  return /^CVE-\d{4}-\d{4,}$/i.test(id);
}
