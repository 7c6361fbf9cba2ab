import type { CodeOf } from '@kmend/protocol';
import type { ChangedSource } from '../source/apply.ts';
import type { MovedHunk } from '../source/hunk-places.ts';
import type { Reason } from '../types.ts';
import { assemblerReasons } from './assembler.ts';
import type { Family, ProtocolCall } from './families.ts';
import { scanFile } from './functions.ts';
import { macroReasons } from './macros.ts';
import { memoryReasons } from './memory.ts';
import { type Changes, changesOf, type FunctionChange } from './moves.ts';
import { type Side, sidesOf, type Version } from './side.ts';

const CODES: Readonly<Record<Family, readonly [code: CodeOf<'needs-review'>, what: string]>> = {
  lock: ['lock-protocol', 'locking'],
  rcu: ['rcu-protocol', 'how RCU is used'],
  reference: ['reference-protocol', 'reference counting'],
};

/** Functions, calls of each, and characters of a call that a message shows. */
const SHOWN = 6;
const SHOWN_LENGTH = 80;

/**
 * What a machine cannot judge: functions that take or drop locks, RCU protection or references otherwise than before.
 * During the transition old and new code run side by side, and functions that do not change run beside both. For each
 * of the fixes at most one reason a family, one for memory, one a changed macro constant, and one each for assembler
 * code, attributes and questions about files.
 */
export function reviewSource(source: ChangedSource, fixes: ReadonlySet<string>): Reason[] {
  const reasons: Reason[] = [];
  let before: Version | undefined;
  for (const [index, { fix, text, moved = [] }] of source.versions.entries()) {
    if (!fixes.has(fix)) continue;
    for (const hunk of moved) reasons.push({ ...placeReason(hunk), fix });
    const old = source.versions[index - 1]?.text ?? source.stock;
    if (before?.text !== old) before = { text: old, file: scanFile(old) };
    const after = { text, file: scanFile(text) };
    for (const reason of reviewStep(source.path, before, after)) reasons.push({ ...reason, fix });
    before = after;
  }
  return reasons;
}

/** This kernel may have only a sibling of the function that the fix means, with the same lines. */
function placeReason({ path, header, line, at }: MovedHunk): Reason {
  const where = at === '' ? 'no function' : `"${at.slice(0, SHOWN_LENGTH)}"`;
  return {
    code: 'hunk-in-other-function',
    verdict: 'needs-review',
    message: `the hunk "${header.slice(0, 2 * SHOWN_LENGTH)}" has moved to line ${line}, the only place that has its lines, which is in ${where}`,
    source: path,
  };
}

function reviewStep(path: string, old: Version, fresh: Version): Reason[] {
  const reasons = [...macroReasons(path, old.file, fresh.file), ...assemblerReasons(path, old.text, fresh.text)];
  const [before, after] = sidesOf(old, fresh);
  for (const family of ['lock', 'rcu', 'reference'] as const) {
    const changes = changesOf(before, after, family);
    const isForgotten = ([name, change]: [string, FunctionChange]): boolean =>
      isForgottenRelease(name, change, before, after);
    if (changes.size > 0 && ![...changes].every(isForgotten)) {
      reasons.push(reasonOf(path, family, changes, before, after));
    }
  }
  reasons.push(...memoryReasons(path, before, after));
  return reasons;
}

/**
 * Only releases come, of what the function takes by itself before and after: an error path that forgot to give back.
 * What it takes of references often shows only as the value of some call.
 */
function isForgottenRelease(name: string, { added, dropped }: FunctionChange, before: Side, after: Side): boolean {
  const takes = (side: Side, release: ProtocolCall): boolean =>
    side.calls(name, release.family).some((call) => call.direction === 'acquire' && isSameThing(call, release)) ||
    (release.family === 'reference' && side.obtains(name, release.object));
  const isForgotten = (call: ProtocolCall): boolean =>
    call.direction === 'release' && takes(before, call) && takes(after, call);
  return dropped.length === 0 && added.every(isForgotten);
}

function isSameThing(one: ProtocolCall, other: ProtocolCall): boolean {
  return one.object === other.object && (one.object !== '' || one.kind === other.kind);
}

function reasonOf(source: string, family: Family, changes: Changes, before: Side, after: Side): Reason {
  const [code, what] = CODES[family];
  const functions = [...changes].map(([name, { added, dropped }]) => {
    const calls = [...callList('+', added), ...callList('-', dropped)];
    return `${name} (${some(calls)})`;
  });
  const beside = runsBeside(family, changes, before, after);
  const neighbours = beside.length === 0 ? '' : `; unchanged beside it, with the same: ${some(beside)}`;
  const [symbol] = changes.keys();
  return {
    code,
    verdict: 'needs-review',
    message: `the fix changes ${what} in ${some(functions)}${neighbours}; old and new code run side by side during the transition`,
    source,
    ...(symbol === undefined ? {} : { symbol }),
  };
}

/** Functions that use the same lock or object and do not change. */
function runsBeside(family: Family, changes: Changes, before: Side, after: Side): string[] {
  const touched = [...changes.values()].flatMap(({ added, dropped }) => [...added, ...dropped]);
  const isTouched = (call: ProtocolCall): boolean => touched.some((other) => isSameThing(call, other));
  return [...after.functions].filter(
    (name) => before.text(name) === after.text(name) && after.calls(name, family).some(isTouched),
  );
}

function callList(sign: string, calls: readonly ProtocolCall[]): string[] {
  const counts = new Map<string, number>();
  for (const { call } of calls) counts.set(call.text, (counts.get(call.text) ?? 0) + 1);
  return [...counts].map(([text, count]) => {
    const shown = text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
    return `${sign}${shown}${count === 1 ? '' : ` ×${count}`}`;
  });
}

function some(list: readonly string[]): string {
  return list.length <= SHOWN ? list.join(', ') : `${list.slice(0, SHOWN).join(', ')} and ${list.length - SHOWN} more`;
}
