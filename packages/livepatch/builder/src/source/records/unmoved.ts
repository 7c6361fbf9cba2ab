import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import type { UnitContext } from '../../assemble/request.ts';
import { compileUnit } from '../../compile/compile.ts';
import { BuilderError } from '../../error.ts';
import { imageApart } from '../../tree/apart.ts';
import { findUnits, type KnownUnit } from '../../tree/unit.ts';
import { readDeclaration, splitDeclarations, squeeze } from '../declarations.ts';
import { type ChangedHeaders, headersKey } from '../header-tree.ts';
import { markedText } from '../marked.ts';
import { preprocess } from '../preprocess.ts';
import { laidOutAlike, probeText } from './layout.ts';
import { compareMembers } from './members.ts';

/** A struct or union whose definition changes, while all that it has stays where it is, as it is. */
export interface UnmovedRecord {
  /** Its definition before and after, preprocessed and squeezed. */
  readonly before: string;
  readonly after: string;
  /** Values without names of members mean what they meant before. */
  readonly keepsOrder: boolean;
}

/** Units that are tried: one may be compiled without the record. */
const TRIED = 4;

/**
 * Which records of changed headers nothing moves in, by tag. One unit that has them shows it: it is compiled before and
 * after, and the compiler tells their layouts. What cannot be shown is left out. `users`: files of this kernel that
 * mention one.
 */
export async function unmovedRecords(
  context: UnitContext,
  state: ChangedHeaders,
  tags: ReadonlySet<string>,
  users: readonly string[],
): Promise<ReadonlyMap<string, UnmovedRecord>> {
  const shown = new Map<string, UnmovedRecord>();
  // What one unit denies, another would deny as well.
  const denied = new Set<string>();
  const sized = await Promise.all(
    users.map(async (path) => ({ path, text: await readFile(join(context.tree.source, path), 'latin1') })),
  );
  // A short file compiles quickly.
  const shortest = sized.sort((a, b) => a.text.length - b.text.length || (a.path < b.path ? -1 : 1));
  let left = TRIED * tags.size;
  for (const { path, text } of shortest) {
    const open = new Set([...tags].filter((tag) => !shown.has(tag) && !denied.has(tag) && text.includes(tag)));
    if (open.size === 0) continue;
    if (left-- === 0) break;
    const unit = [...(await findUnits(context.edges, context.tree, [path])).values()].flatMap((found) =>
      found instanceof BuilderError ? [] : found,
    )[0];
    if (unit === undefined || imageApart(unit.source, unit.command) !== undefined) continue;
    const found = await shownBy(context, state, open, unit);
    for (const [tag, record] of found) {
      if (record === undefined) denied.add(tag);
      else shown.set(tag, record);
    }
  }
  return shown;
}

/** What one unit shows: a record, `undefined` for one that moves, nothing for one that it does not have. */
async function shownBy(
  context: UnitContext,
  state: ChangedHeaders,
  tags: ReadonlySet<string>,
  unit: KnownUnit,
): Promise<ReadonlyMap<string, UnmovedRecord | undefined>> {
  const { edges, tree, cache } = context;
  const records = new Map<string, UnmovedRecord | undefined>();
  const stock = await readFile(join(tree.source, unit.source), 'latin1');
  const text = await markedText(edges, unit.spelling, stock, stock);
  const root = await context.headerRoot(state);
  const [before, after] = await Promise.all(
    [tree.source, root].map(async (from) => recordsIn(await preprocess(edges, tree, unit, text, from), tags)),
  );
  if (before === undefined || after === undefined) return records;
  const candidates = [...tags].flatMap((tag) => {
    const [old, now] = [before.get(tag), after.get(tag)];
    if (old === undefined || now === undefined) return [];
    const change = compareMembers(old, now);
    records.set(tag, undefined);
    return change === undefined
      ? []
      : [{ tag, name: `${old.startsWith('union') ? 'union' : 'struct'} ${tag}`, old, now, change }];
  });
  if (candidates.length === 0) return records;
  edges.progress.step(`compile ${unit.source} to see whether ${candidates.map(({ name }) => name).join(', ')} moves`);
  const probed = text + probeText(candidates.map(({ name }) => name));
  const common = { text: probed, layout: 'separate' } as const;
  try {
    const [old, now] = await Promise.all(
      [
        { ...common, root: tree.source, headersKey: '' },
        { ...common, root, headersKey: headersKey(state) },
      ].map(async (input) => await readFile((await compileUnit(edges, tree, unit, input, cache)).object)),
    );
    const alike = old === undefined || now === undefined ? new Set<number>() : laidOutAlike(old, now, candidates);
    for (const at of alike) {
      const found = candidates[at];
      if (found === undefined) continue;
      records.set(found.tag, { before: found.old, after: found.now, keepsOrder: found.change.keepsOrder });
    }
  } catch (error) {
    // The header needs another one of the fix's, or is not for this unit: nothing is shown.
    if (errorCode(error) !== 'patch-does-not-compile') throw error;
  }
  return records;
}

/** Definitions of the records in a preprocessed text, by tag. One that is defined twice is none. */
function recordsIn(preprocessed: string | undefined, tags: ReadonlySet<string>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (preprocessed === undefined) return found;
  for (const text of splitDeclarations(squeeze(preprocessed))) {
    if (!text.includes('{') || ![...tags].some((tag) => text.includes(tag))) continue;
    const { kind, names } = readDeclaration(text);
    const [tag, ...variables] = names;
    if (kind === 'record' && tag !== undefined && tags.has(tag) && variables.length === 0) found.set(tag, text);
  }
  return found;
}
