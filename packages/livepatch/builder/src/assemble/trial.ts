import { readFile } from 'node:fs/promises';
import { KmendError } from '@kmend/base';
import { readElf, SHN_UNDEF } from '@kmend/elf';
import type { Fix } from '../fix/model.ts';
import type { ChangedSource } from '../source/apply.ts';
import { imageApart } from '../tree/apart.ts';
import type { KnownUnit } from '../tree/unit.ts';
import { UnitCompiler } from './compiler.ts';
import { planUnits } from './plan.ts';
import type { PatchedObject, UnitContext, UnitRequest } from './request.ts';

/** What stands in the way of compiling fixes by themselves. */
export interface TrialFailure {
  /** The file that does not compile, or that refers to what no file of the kernel defines. */
  readonly source: string;
  /** The compiler's words; empty where only the linker would complain. */
  readonly errors: readonly string[];
  /** Names that these errors are about. */
  readonly names: readonly string[];
  /** Files that these errors lie in, or a macro's use that leads to one. */
  readonly places: readonly string[];
  /** Headers and other files that the file includes. */
  readonly includes: ReadonlySet<string>;
}

/** A fix may reach dozens of files, most of them compiled again as they are. */
const UNITS_AT_ONCE = 2;

/**
 * Compiles every unit that fixes touch, as patched only, and looks for references that nothing of this kernel meets.
 */
export async function tryToCompile(
  context: UnitContext,
  sources: readonly ChangedSource[],
  fixes: readonly Fix[],
): Promise<TrialFailure[]> {
  const failures: TrialFailure[] = [];
  const undefinedNames = new Map<string, { unit: KnownUnit; includes: ReadonlySet<string> }>();
  const defined = new Set<string>();
  for (const [{ unit }, tried] of await compileAll(context, await planUnits(context, sources, [], fixes))) {
    const { includes } = tried;
    if ('errors' in tried) {
      const { errors, places } = tried;
      failures.push({ source: unit.source, errors, names: errors.flatMap(quotedNames), places, includes });
    } else if (tried.object !== undefined && imageApart(unit.source, unit.command) === undefined) {
      // What an image of its own refers to, `efi_is64` of the EFI stub, is defined there.
      for (const { name, place } of readElf(await readFile(tried.object)).symbols) {
        if (place === SHN_UNDEF) undefinedNames.set(name, { unit, includes });
        else defined.add(name);
      }
    }
  }
  const { symbols, exports } = await context.facts();
  for (const [name, { unit, includes }] of undefinedNames) {
    if (name === '' || defined.has(name) || symbols.has(name) || exports.has(name)) continue;
    if (!(await isOfModule(context, name, unit)))
      failures.push({ source: unit.source, errors: [], names: [name], places: [], includes });
  }
  return failures;
}

/** What compiling one unit came to. */
type Tried = PatchedObject | Pick<TrialFailure, 'errors' | 'places' | 'includes'>;

/** Compiles the patched states, some side by side; the answers are in the order of the plan. */
async function compileAll(context: UnitContext, plan: readonly UnitRequest[]): Promise<[UnitRequest, Tried][]> {
  const { progress, signal } = context.edges;
  if (plan.length > 1) progress.step(`compile the ${plan.length} files that the fixes reach`);
  const tried = new Map<UnitRequest, Tried>();
  const waiting = plan.values();
  const work = async (): Promise<void> => {
    for (const request of waiting) {
      signal.throwIfAborted();
      tried.set(request, await compileOne(context, request));
      progress.advance(tried.size, plan.length, 'files');
    }
  };
  await Promise.all(Array.from({ length: UNITS_AT_ONCE }, work));
  return plan.flatMap((request) => {
    const found = tried.get(request);
    return found === undefined ? [] : [[request, found]];
  });
}

async function compileOne(context: UnitContext, request: UnitRequest): Promise<Tried> {
  try {
    return await new UnitCompiler(context, request).patched();
  } catch (error) {
    if (!(error instanceof KmendError) || error.code !== 'patch-does-not-compile') throw error;
    return error.details as Pick<TrialFailure, 'errors' | 'places' | 'includes'>;
  }
}

/** A module's own unexported symbols are in no list of the kernel's. */
async function isOfModule(context: UnitContext, name: string, unit: KnownUnit): Promise<boolean> {
  if (unit.object === 'vmlinux') return false;
  const facts = await context.facts();
  await facts.loadModules([], unit);
  return facts.modules.get(unit.object)?.some((symbol) => symbol.name === name) ?? false;
}

const KEYWORDS = new Set([
  'const',
  'struct',
  'union',
  'enum',
  'unsigned',
  'int',
  'long',
  'char',
  'void',
  'bool',
  'inline',
  'static',
]);

/** Identifiers that gcc quotes in its errors; a tracepoint's function is declared by the name behind `trace_`. */
export function quotedNames(error: string): string[] {
  const names = [...error.matchAll(/[‘']([^’']+)[’']/g)].flatMap(([, text = '']) => text.match(/[A-Za-z_]\w*/g) ?? []);
  return names
    .filter((name) => !KEYWORDS.has(name))
    .flatMap((name) => (name.startsWith('trace_') ? [name, name.slice('trace_'.length)] : [name]));
}
