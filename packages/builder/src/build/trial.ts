import { readFile } from 'node:fs/promises';
import { KmendError } from '@kmend/base';
import { readElf, SHN_UNDEF } from '@kmend/elf';
import type { Fix } from '../fix/model.ts';
import type { ChangedSource } from '../source/apply.ts';
import type { KnownUnit } from '../tree/unit.ts';
import { UnitCompiler } from './compiler.ts';
import { planUnits } from './plan.ts';
import type { UnitContext } from './request.ts';

/** What stands in the way of compiling fixes by themselves. */
export interface TrialFailure {
  /** The file that does not compile, or that refers to what no file of the kernel defines. */
  readonly source: string;
  /** The compiler's words; empty where only the linker would complain. */
  readonly errors: readonly string[];
  /** Names that these errors are about. */
  readonly names: readonly string[];
  /** Headers and other files that the file includes. */
  readonly includes: ReadonlySet<string>;
}

/** Compiles every unit that fixes touch, as patched only, and looks for references that nothing of this kernel meets. */
export async function tryToCompile(
  context: UnitContext,
  sources: readonly ChangedSource[],
  fixes: readonly Fix[],
): Promise<TrialFailure[]> {
  const failures: TrialFailure[] = [];
  const undefinedNames = new Map<string, { unit: KnownUnit; includes: ReadonlySet<string> }>();
  const defined = new Set<string>();
  for (const request of await planUnits(context, sources, [], fixes)) {
    const { unit } = request;
    try {
      const { object, includes } = await new UnitCompiler(context, request).patched();
      if (object === undefined) continue;
      for (const { name, place } of readElf(await readFile(object)).symbols) {
        if (place === SHN_UNDEF) undefinedNames.set(name, { unit, includes });
        else defined.add(name);
      }
    } catch (error) {
      if (!(error instanceof KmendError) || error.code !== 'patch-does-not-compile') throw error;
      const { errors, includes } = error.details as { errors: readonly string[]; includes: ReadonlySet<string> };
      failures.push({ source: unit.source, errors, names: errors.flatMap(quotedNames), includes });
    }
  }
  const { symbols, exports } = await context.facts();
  for (const [name, { unit, includes }] of undefinedNames) {
    if (name === '' || defined.has(name) || symbols.has(name) || exports.has(name)) continue;
    if (!(await isOfModule(context, name, unit)))
      failures.push({ source: unit.source, errors: [], names: [name], includes });
  }
  return failures;
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
function quotedNames(error: string): string[] {
  const names = [...error.matchAll(/[‘']([^’']+)[’']/g)].flatMap(([, text = '']) => text.match(/[A-Za-z_]\w*/g) ?? []);
  return names
    .filter((name) => !KEYWORDS.has(name))
    .flatMap((name) => (name.startsWith('trace_') ? [name, name.slice('trace_'.length)] : [name]));
}
