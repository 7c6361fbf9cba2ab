import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { errorCode, parseJson } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import type { UnitContext } from '../assemble/request.ts';
import { BuilderError } from '../error.ts';
import { imageApart, isApart } from '../tree/apart.ts';
import { builtSources } from '../tree/built.ts';
import { Contained } from '../tree/contained.ts';
import { includeGraph } from '../tree/included.ts';
import { readRecipe } from '../tree/recipe.ts';
import { searchPaths } from '../tree/search-path.ts';
import type { PreparedTree } from '../tree/tree.ts';
import { findUnits, type KnownUnit } from '../tree/unit.ts';
import type { ChangedTexts } from './changed-texts.ts';
import { squeeze } from './declarations.ts';
import { filesWith } from './files-with.ts';
import { canChangeCode } from './follow.ts';
import { headersKey } from './header-tree.ts';
import { markedText } from './marked.ts';
import { changedMacros, narrowed } from './narrow.ts';
import { isMadeOf, preprocess } from './preprocess.ts';
import { changedRecords } from './records/raw.ts';
import { type UnmovedRecord, unmovedRecords } from './records/unmoved.ts';

/** By unit: whether the changed texts can change what it emits. */
const Answers = z.record(z.string(), z.boolean());

/** Up to so many are all preprocessed; of more those that mention what changes, which takes seconds to find. */
const FEW = 100;
/** With more, it is worth two compilations to see whether a changed record moves anything. */
const FEW_TO_BUILD = 8;
/** Units that are built first where a record moves: one of them that is refused is the answer. */
const WITNESSES = 3;
/** Units that are preprocessed for a change: some three a second on two processors. */
const LOOKED_AT_LIMIT = 1500;
/**
 * Units that are compiled and compared for a change in a header. What changes the code of more is not for a livepatch.
 */
const COMPILED_LIMIT = 250;
const AT_ONCE = 3;
/**
 * Units that take options of the configuration back (`#undef CONFIG_PARAVIRT`), so that a record may be another one
 * there.
 */
const OWN_CONFIGURATION: ReadonlySet<string> = new Set(['arch/x86/mm/mem_encrypt_identity.c']);
const NO_FLAGS = { compilerArguments: [] };
const SAVE_EVERY = 100;

/** Whether a C file is part of an image that is neither vmlinux nor a module. */
export function isOfOtherImage(path: string): boolean {
  return path.endsWith('.c') && OTHER_IMAGES.test(path);
}

/**
 * Units of images that run beside the kernel or have run before it: they cannot be patched, but what they go on with
 * must be said.
 */
const OTHER_IMAGES = /^(?:arch\/x86\/(?!um\/)|drivers\/firmware\/efi\/libstub\/)/;

/**
 * Units of this kernel, without `known`, whose code or data changed texts can change: those that can include one, are
 * part of this kernel, and in whose preprocessed text the change leads to something that they emit. `header-too-wide`
 * where they are too many to look at or to build; `holders`: how many units can contain a changed text, `known` ones
 * included.
 */
export async function reachedUnits(
  context: UnitContext,
  changed: ChangedTexts,
  known: ReadonlySet<string>,
): Promise<{ readonly units: readonly KnownUnit[]; readonly holders: number }> {
  const { edges, tree } = context;
  const { built, containers, holders } = await holdersOf(context, changed);
  await checkAssembler(tree, changed, containers);
  const candidates = holders.filter((path) => !known.has(path)).sort();
  const wanted = { texts: new Set(changed.stock.keys()), containers: new Set(containers) };
  const unitsOf = async (paths: readonly string[]): Promise<KnownUnit[]> => {
    const units: KnownUnit[] = [];
    for (const [path, found] of await findUnits(edges, tree, paths)) {
      if (!(found instanceof BuilderError)) units.push(...found);
      else if (built.has(path)) throw found;
    }
    const [graph, searches] = await Promise.all([includeGraph(edges, tree), searchPaths(edges, tree)]);
    const contained = new Contained(graph, searches, wanted);
    return units.filter(({ source, command }) => contained.canHold(source, command.compilerArguments));
  };
  const records =
    candidates.length > FEW_TO_BUILD ? await recordsOf(context, changed, holders) : { unmoved: [], moving: [] };
  const units =
    candidates.length > FEW
      ? await fewer(context, changed, candidates, records.unmoved, unitsOf)
      : await unitsOf(candidates);
  return { units: await withChangedCode(context, changed, units, records.unmoved), holders: holders.length };
}

/**
 * Some of the units that a moving record reaches, where many include it: new code of such a unit would read live
 * objects wrong, so that it is refused, and the rest need not be looked at. None where no record moves, or few units
 * include the changed texts. `moving`: their tags.
 */
export async function witnessUnits(
  context: UnitContext,
  changed: ChangedTexts,
): Promise<{ readonly units: readonly KnownUnit[]; readonly moving: readonly string[] }> {
  const { edges, tree } = context;
  const { built, holders } = await holdersOf(context, changed);
  if (holders.length <= FEW) return { units: [], moving: [] };
  const { moving } = await recordsOf(context, changed, holders);
  if (moving.length === 0) return { units: [], moving };
  const users = await usersOf(context, moving, holders);
  const dense = await Promise.all(
    users
      .filter((path) => built.has(path) && !isApart(path))
      .map(async (path) => {
        const words = (await readFile(join(tree.source, path), 'latin1')).match(/[A-Za-z_]\w*/g) ?? [];
        return { path, share: words.filter((word) => moving.includes(word)).length / Math.max(words.length, 1) };
      }),
  );
  const first = dense.sort((a, b) => b.share - a.share || (a.path < b.path ? -1 : 1)).slice(0, WITNESSES);
  const found = await findUnits(
    edges,
    tree,
    first.map(({ path }) => path),
  );
  return { units: [...found.values()].flatMap((units) => (units instanceof BuilderError ? [] : units)), moving };
}

/** Files that can contain a changed text, and the units among them. */
export async function holdersOf(
  context: UnitContext,
  changed: ChangedTexts,
): Promise<{
  readonly built: Awaited<ReturnType<typeof builtSources>>;
  readonly containers: readonly string[];
  readonly holders: readonly string[];
}> {
  const built = await builtSources(context.edges, context.tree);
  const containers = await containersOf(context, [...changed.stock.keys()], built.keys());
  return { built, containers, holders: containers.filter((path) => built.has(path) || isOfOtherImage(path)) };
}

/** By state of the changed texts: records that are known to move nothing. */
type Unmoved = readonly ReadonlyMap<string, UnmovedRecord>[];

interface Records {
  readonly unmoved: Unmoved;
  /** Tags of those of which it is not shown that nothing moves. */
  readonly moving: readonly string[];
}

const recordsKnown = new WeakMap<UnitContext, Map<string, Promise<Records>>>();

/** What becomes of the structs and unions that changed texts define. Looked for once. */
async function recordsOf(context: UnitContext, changed: ChangedTexts, holders: readonly string[]): Promise<Records> {
  const known = recordsKnown.get(context) ?? new Map<string, Promise<Records>>();
  recordsKnown.set(context, known);
  const key = changed.states.map(headersKey).join(' ');
  const records = known.get(key) ?? findRecords(context, changed, holders);
  known.set(key, records);
  return await records;
}

async function findRecords(
  context: UnitContext,
  { stock, states }: ChangedTexts,
  holders: readonly string[],
): Promise<Records> {
  const unmoved: ReadonlyMap<string, UnmovedRecord>[] = [];
  const moving = new Set<string>();
  for (const state of states) {
    const tags = new Set([...stock].flatMap(([path, before]) => changedRecords(before, state.get(path) ?? before)));
    const users = tags.size === 0 ? [] : await usersOf(context, [...tags], holders);
    const shown = tags.size === 0 ? new Map() : await unmovedRecords(context, state, tags, users);
    unmoved.push(shown);
    for (const tag of tags) if (!shown.has(tag)) moving.add(tag);
  }
  return { unmoved, moving: [...moving] };
}

async function usersOf(
  { edges, tree }: UnitContext,
  words: readonly string[],
  holders: readonly string[],
): Promise<string[]> {
  const users = new Set(await filesWith(edges, tree, words));
  return holders.filter((path) => users.has(path));
}

/** Those that mention what changes. Where names do not tell, all of them, if they can be looked at. */
async function fewer(
  { edges, tree }: UnitContext,
  changed: ChangedTexts,
  candidates: readonly string[],
  unmoved: Unmoved,
  unitsOf: (paths: readonly string[]) => Promise<KnownUnit[]>,
): Promise<KnownUnit[]> {
  let tooWide: unknown;
  try {
    const names = await narrowed(edges, tree, changed, candidates, LOOKED_AT_LIMIT, unmoved);
    // What holds for the kernel's own units need not hold for these.
    const others = candidates.filter((path) => isApart(path) || OWN_CONFIGURATION.has(path));
    return await unitsOf([...new Set([...names, ...others])].sort());
  } catch (error) {
    if (errorCode(error) !== 'header-too-wide') throw error;
    tooWide = error;
  }
  const units = await unitsOf(candidates);
  if (units.length > LOOKED_AT_LIMIT) throw tooWide;
  return units;
}

/** Files that can contain one of the texts; `built`: the units of this kernel. */
async function containersOf(
  { edges, tree }: UnitContext,
  paths: readonly string[],
  built: Iterable<string>,
): Promise<string[]> {
  const graph = await includeGraph(edges, tree);
  const containers = new Set(paths.flatMap((path) => [...graph.containersOf(path)]));
  const { compilerArguments } = await readRecipe(tree);
  // Kbuild has every file begin with these (Makefile, `LINUXINCLUDE`; scripts/Makefile.lib, `_c_flags`), and no file
  // names them.
  const forced = compilerArguments.flatMap((word, at) =>
    word === '-include' ? [normalize(compilerArguments[at + 1] ?? '')] : [],
  );
  if (forced.some((path) => paths.includes(path) || containers.has(path)))
    for (const unit of built) containers.add(unit);
  return [...containers];
}

/**
 * Assembler cannot be patched live, and sees nothing of a header but its macros: `source-unsupported` where the
 * kernel's own uses one that changes (arch/x86/include/asm/segment.h).
 */
export async function checkAssembler(
  tree: Pick<PreparedTree, 'source'>,
  changed: ChangedTexts,
  containers: readonly string[],
): Promise<void> {
  const assembler = containers.filter((path) => path.endsWith('.S') && imageApart(path, NO_FLAGS) === undefined);
  if (assembler.length === 0) return;
  const macros = changedMacros(changed);
  for (const path of macros.size === 0 ? [] : assembler) {
    const words = new Set((await readFile(join(tree.source, path), 'latin1')).match(/[A-Za-z_]\w*/g));
    const used = [...macros].find((name) => words.has(name));
    if (used === undefined) continue;
    throw new BuilderError('source-unsupported', `${path} is assembler and uses ${used}, which the fixes change`, {
      hint: 'assembler cannot be patched live: write the fix without the change of the macro',
    });
  }
}

async function withChangedCode(
  context: UnitContext,
  changed: ChangedTexts,
  units: readonly KnownUnit[],
  unmoved: Unmoved,
): Promise<KnownUnit[]> {
  const { edges, tree, code } = context;
  const path = join(tree.directory, 'reach', `${sha256([code, ...changed.states.map(headersKey)].join('\0'))}.json`);
  const answers = new Map(
    Object.entries(Answers.safeParse(parseJson(await readFile(path, 'utf8').catch(() => ''))).data ?? {}),
  );
  const save = async (): Promise<void> => await writeFileAtomic(path, JSON.stringify(Object.fromEntries(answers)));
  const open = units.filter(({ source }) => !answers.has(source));
  const reached = new Set(units.filter(({ source }) => answers.get(source) === true));
  if (open.length > 0) {
    const names = [...changed.stock.keys()];
    edges.progress.step(`look through the ${open.length} files that can include ${names.slice(0, 3).join(', ')}`);
  }
  let done = 0;
  let next = 0;
  const tooMany = (): boolean => reached.size > COMPILED_LIMIT;
  const work = async (): Promise<void> => {
    for (let unit = open[next++]; unit !== undefined && !tooMany(); unit = open[next++]) {
      edges.signal.throwIfAborted();
      const isReached = await canChange(context, changed, unit, unmoved);
      answers.set(unit.source, isReached);
      if (isReached) reached.add(unit);
      edges.progress.advance(++done, open.length, 'files');
      if (done % SAVE_EVERY === 0) await save();
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } finally {
    // What is known stays known when the build is interrupted.
    if (done > 0) await save();
  }
  if (tooMany()) throw tooWide(changed, reached.size, answers.size, units.length);
  return units.filter((unit) => reached.has(unit));
}

function tooWide(changed: ChangedTexts, reached: number, looked: number, all: number): BuilderError {
  const names = [...changed.stock.keys()].slice(0, 3).join(', ');
  const message = `the change of ${names} can change the code of ${reached} of the first ${looked} files looked at, of ${all} that can include it; at most ${COMPILED_LIMIT} are built for a header`;
  return new BuilderError('header-too-wide', message, {
    hint: 'write the fix without the change of the header: docs/authoring.md',
  });
}

/** Whether one of the states can change what a unit emits. What cannot be preprocessed is left to the compiler. */
async function canChange(
  context: UnitContext,
  changed: ChangedTexts,
  unit: KnownUnit,
  unmoved: Unmoved,
): Promise<boolean> {
  const { edges, tree } = context;
  const stock = await readFile(join(tree.source, unit.source), 'latin1');
  const text = await markedText(edges, unit.spelling, stock, stock);
  const before = await preprocess(edges, tree, unit, text, tree.source);
  if (before === undefined) return true;
  if (!isMadeOf(before, new Set(changed.stock.keys()))) return false;
  const squeezed = squeeze(before);
  // Another image has layouts of its own (arch/x86/boot: 16 and 32 bits).
  const isOther = imageApart(unit.source, unit.command) !== undefined;
  for (const [at, state] of changed.states.entries()) {
    if (state.size === 0) continue;
    const after = await preprocess(edges, tree, unit, text, await context.headerRoot(state));
    const still = isOther ? undefined : unmoved[at];
    if (after === undefined || canChangeCode(squeezed, squeeze(after), still)) return true;
  }
  return false;
}
