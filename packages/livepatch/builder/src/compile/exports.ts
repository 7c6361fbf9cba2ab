import { writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Edges } from '@kmend/base';
import { exists, runOk } from '@kmend/base/node';
import type { ElfFile } from '@kmend/elf';
import type { ExportedSymbol } from '@kmend/kernel';
import { AUTHOR_INCLUDE } from '../author/header.ts';
import { confined } from '../confine.ts';
import type { PreparedTree } from '../tree/tree.ts';
import type { KnownUnit } from '../tree/unit.ts';
import type { Reason } from '../types.ts';
import { COMPILER_LIMITS, type CompileInput } from './compile.ts';

/** Preprocessed kernel source is a few megabytes. */
const TEXT_LIMIT = 64 << 20;

/**
 * CRC of the type of each symbol that a unit exports, `0x` and eight hex digits: what modules that use it are checked
 * against. As Kbuild makes them (scripts/Makefile.build, `cmd_gensymtypes_c`), so that those of the unpatched text are
 * the ones in Module.symvers. None where the tree has no genksyms, since its kernel has no CRCs or makes them from
 * debug information. `scratch`: a folder of the caller's own.
 */
export async function exportCrcs(
  edges: Pick<Edges, 'run' | 'signal'>,
  tree: PreparedTree,
  unit: KnownUnit,
  input: CompileInput,
  scratch: string,
): Promise<ReadonlyMap<string, string>> {
  const genksyms = join(tree.source, 'scripts', 'genksyms', 'genksyms');
  if (!(await exists(genksyms))) return new Map();
  const { compiler, compilerArguments } = unit.command;
  const source = join(scratch, basename(unit.source));
  await writeFile(source, input.text, 'latin1');
  const where = ['-iquote', dirname(unit.spelling), '-I', AUTHOR_INCLUDE, source];
  const options = { cwd: input.root, signal: edges.signal, maxOutput: TEXT_LIMIT, limits: COMPILER_LIMITS };
  const run = await confined(edges.run, tree.root, [input.root, tree.source, source]);
  const text = await runOk(run, compiler, [...compilerArguments, '-E', '-D__GENKSYMS__', ...where], options);
  const said = await runOk(run, genksyms, ['-r', '/dev/null'], { ...options, stdin: text });
  // `#SYMVER name crc`; before 6.1 `__crc_name = crc;`, for the linker.
  const lines = said.toString('latin1').matchAll(/^(?:#SYMVER |__crc_)(\w+)(?: = | )(0x[0-9a-f]+);?$/gm);
  return new Map([...lines].map(([, name = '', crc = '']) => [name, crc]));
}

/**
 * Whether an object exports symbols (include/linux/export.h; since 6.4 modpost makes the tables from `.export_symbol`).
 */
export function hasExports({ sections }: ElfFile): boolean {
  return sections.some(({ name }) => /^(?:___ksymtab|__ksymtab|\.export_symbol)/.test(name));
}

/**
 * An export whose type is another than before: modules that are there or come later were built for the old one.
 * `shipped`: what Module.symvers says; a CRC that is not made in this way there says nothing (kernels with
 * CONFIG_GENDWARFKSYMS).
 */
export function exportReasons(
  source: string,
  shipped: { get(name: string): Pick<ExportedSymbol, 'crc'> | undefined },
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): Reason[] {
  const changed = [...before]
    .filter(([name, crc]) => shipped.get(name)?.crc === crc && after.has(name) && after.get(name) !== crc)
    .map(([name]) => name);
  const [symbol] = changed;
  if (symbol === undefined) return [];
  const shown = `${changed.slice(0, 6).join(', ')}${changed.length > 6 ? `, and ${changed.length - 6} more` : ''}`;
  const message = `the types behind ${shown} change: modules that use these exports were built for the old ones`;
  return [{ code: 'export-abi-changed', verdict: 'refused', message, source, symbol }];
}
