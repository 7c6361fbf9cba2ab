import type { Family, ProtocolCall } from './families.ts';
import type { Side } from './side.ts';

/** The calls of one family that a function makes more and fewer than before. */
export interface FunctionChange {
  readonly added: readonly ProtocolCall[];
  readonly dropped: readonly ProtocolCall[];
}

export type Changes = Map<string, FunctionChange>;

/**
 * Changes by function. New functions come from nothing and removed ones go to nothing; calls that only moved are gone
 * from it.
 */
export function changesOf(before: Side, after: Side, family: Family): Changes {
  const changes: Changes = new Map();
  for (const name of new Set([...before.functions, ...after.functions])) {
    if (before.has(name) && after.has(name) && before.text(name) === after.text(name)) continue;
    const old = before.calls(name, family);
    const fresh = after.calls(name, family);
    const change = { added: without(fresh, old, thingOf), dropped: without(old, fresh, thingOf) };
    if (change.added.length + change.dropped.length > 0) changes.set(name, change);
  }
  settleSplits(changes, before, after);
  settleSplits(changes, after, before);
  settleRenames(changes, before, after);
  return changes;
}

// The rest of the arguments (flags, lockdep classes, conditions) does not say what is locked or held.
const thingOf = ({ call }: ProtocolCall): string => `${call.name}(${call.args[0] ?? ''})`;
// Arguments have other names in a helper than in its callers.
const nameOf = ({ call }: ProtocolCall): string => call.name;

/** A multiset's difference. */
export function without<Item>(calls: readonly Item[], others: readonly Item[], keyOf: (call: Item) => string): Item[] {
  const counts = new Map<string, number>();
  for (const other of others) counts.set(keyOf(other), (counts.get(keyOf(other)) ?? 0) + 1);
  return calls.filter((call) => {
    const count = counts.get(keyOf(call)) ?? 0;
    counts.set(keyOf(call), count - 1);
    return count <= 0;
  });
}

/**
 * A function that only one side has, whose calls are just those that every function using it has on the other side: it
 * was split out of them, or put into them.
 */
function settleSplits(changes: Changes, lacking: Side, having: Side): void {
  const pick = ({ added, dropped }: FunctionChange, own: boolean): readonly ProtocolCall[] =>
    own === having.isPatched ? added : dropped;
  for (const [name, change] of [...changes]) {
    if (lacking.has(name)) continue;
    const moved = pick(change, true);
    const users = having.usersOf(name);
    const isMove =
      users.length > 0 &&
      users.every((user) => {
        const theirs = changes.get(user);
        return theirs !== undefined && without(moved, pick(theirs, false), nameOf).length === 0;
      });
    if (!isMove) continue;
    changes.delete(name);
    for (const user of users) {
      const theirs = changes.get(user);
      if (theirs === undefined) continue;
      const rest = without(pick(theirs, false), moved, nameOf);
      put(changes, user, having.isPatched ? { ...theirs, dropped: rest } : { ...theirs, added: rest });
    }
  }
}

/** A function that is gone and a new one with the same calls: renamed. */
function settleRenames(changes: Changes, before: Side, after: Side): void {
  for (const [gone, { dropped }] of [...changes]) {
    if (after.has(gone)) continue;
    for (const [fresh, { added }] of changes) {
      if (before.has(fresh) || added.length !== dropped.length) continue;
      if (without(added, dropped, nameOf).length > 0) continue;
      changes.delete(gone);
      changes.delete(fresh);
      break;
    }
  }
}

function put(changes: Changes, name: string, change: FunctionChange): void {
  if (change.added.length + change.dropped.length > 0) changes.set(name, change);
  else changes.delete(name);
}
