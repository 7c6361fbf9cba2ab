import { basename } from 'node:path';
import type { Edges } from '@kmend/base';
import type { ElfFile } from '@kmend/elf';
import { CALLBACKS_SECTION } from '../author/callbacks.ts';
import { compareUnit } from '../compare/compare.ts';
import { select } from '../extract/extract.ts';
import { addressKeptReasons } from '../extract/kept.ts';
import type { Atom } from '../object/atom.ts';
import { agreedSizes, type StructSizes } from '../object/tables.ts';
import { ObjectView } from '../object/view.ts';
import type { Reason } from '../types.ts';
import { type Draft, dataChanges, functionChanges } from './changes.ts';
import { checksOf, comparedTables } from './checks.ts';
import { withInstructions } from './instructions.ts';
import { lineMoved, type MovedLine } from './line-moved.ts';
import type { Changes, Difference, InKernel, ObjectComparison } from './model.ts';
import { moduleName, type ReadObject, readObject } from './read.ts';
import { namesOf, neededReferences } from './standing.ts';
import { readSymbolList } from './symbols.ts';
import { checkObjectTypes, structSizes } from './types.ts';

export interface CompareRequest {
  /** Paths of two relocatable objects of one unit, or two builds of one module. */
  readonly original: string;
  readonly patched: string;
  /** Path of a vmlinux, vmlinuz, System.map or kallsyms of the kernel that they are for. */
  readonly symbols?: string;
}

/**
 * Compares two objects of one unit from any kernel: what changed, why, and what that means for a livepatch. Errors: a
 * file cannot be read or is no such object (`object-unreadable`, `object-unsupported`, `symbols-unreadable`, those of
 * the ELF reader); all else is in the answer.
 */
export async function compareObjects(
  edges: Pick<Edges, 'run' | 'signal'>,
  request: CompareRequest,
): Promise<ObjectComparison> {
  const { run, signal } = edges;
  const original = await readObject(request.original);
  const patched = await readObject(request.patched);
  const symbols = request.symbols === undefined ? undefined : await readSymbolList(run, request.symbols, signal);
  const views = viewsOf(original, patched, symbols?.structs ?? new Map());
  const module = moduleName(original.file);
  const source = basename(request.patched);
  const lines = new Map<Atom, MovedLine>();
  const change = compareUnit({ source, object: module ?? 'vmlinux' }, ...views, (prints, atoms) => {
    const [before, after] = [
      { view: views[0], prints: prints[0] },
      { view: views[1], prints: prints[1] },
    ];
    const line = lineMoved([before, after], atoms);
    if (line !== undefined) lines.set(atoms[1], line);
    return line !== undefined;
  });
  const compared = { original: views[0], patched: views[1], change, lines };
  const functions = functionChanges(compared);
  const data = dataChanges(compared);
  const types = checkObjectTypes(source, original.file, patched.file, change);
  const owner = { module, original: original.file, symbols };
  const inKernel = symbols === undefined && module === undefined ? undefined : namesOf(owner);
  const found = [...functions.changed, ...data.changed].map((item) => item.found);
  const differences = await withInstructions(run, found, signal);
  const kept = addressKeptReasons(source, views[1], change, select(views[1], change));
  const reasons = [...change.reasons, ...types.reasons, ...kept];
  const hasChanges = [functions, data].some(
    ({ changed, added, removed }) => changed.length + added.length + removed.length > 0,
  );
  const isEmpty = change.changed.size === 0 && !declaresCallbacks(patched.file);
  // As a build of it would answer: what only starting or ending runs, and what nothing uses, is not replaced.
  if (isEmpty && (hasChanges || reasons.length > 0) && reasons.every(({ verdict }) => verdict === 'needs-review')) {
    const message = 'no function that stays in the running kernel changes: nothing to patch';
    reasons.push({ code: 'no-function-changed', verdict: 'refused', message, source });
  }
  return {
    original: original.identity,
    patched: patched.identity,
    ...(module !== undefined && { module }),
    verdict: verdictOf(reasons, hasChanges),
    reasons,
    functions: finished(functions, differences, inKernel),
    data: finished(data, differences.slice(functions.changed.length), undefined),
    references: neededReferences(compared.patched, change, owner),
    tables: comparedTables(...views),
    checks: checksOf(views, types.check, module, symbols),
  };
}

/** Both objects in parts, their tables split alike. */
function viewsOf(original: ReadObject, patched: ReadObject, known: StructSizes): [ObjectView, ObjectView] {
  const described = new Map([...structSizes(original.file), ...structSizes(patched.file), ...known]);
  const sizes = agreedSizes(original.file, patched.file, described);
  return [new ObjectView(original.file, sizes), new ObjectView(patched.file, sizes)];
}

function declaresCallbacks(file: ElfFile): boolean {
  return file.sections.some(({ name, size }) => name === CALLBACKS_SECTION && size > 0);
}

function verdictOf(reasons: readonly Reason[], hasChanges: boolean): ObjectComparison['verdict'] {
  for (const verdict of ['refused', 'needs-review'] as const) {
    if (reasons.some((reason) => reason.verdict === verdict)) return verdict;
  }
  return hasChanges ? 'patchable' : 'unchanged';
}

function finished(
  { same, lineMoved, changed, added, removed }: Draft,
  differences: readonly Difference[],
  inKernel: ((name: string) => InKernel) | undefined,
): Changes {
  const items = changed.flatMap(({ found: _, ...item }, index) => {
    const difference = differences[index];
    if (difference === undefined) return [];
    return [
      { ...item, difference, ...(inKernel !== undefined && { inKernel: inKernel(item.originalName ?? item.name) }) },
    ];
  });
  return { same, lineMoved, changed: items, added, removed };
}
