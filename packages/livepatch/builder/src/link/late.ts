import { type ElfFile, type Section, SHN_UNDEF } from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import { BuilderError } from '../error.ts';
import type { Reason, Resolution } from '../types.ts';

/** Tables that a module's loader acts on entry by entry, and the struct of an entry. */
const ENTRY_OF: Readonly<Record<string, string>> = {
  __jump_table: 'jump_entry',
  '.static_call_sites': 'static_call_site',
};

export const lateStructs: readonly string[] = Object.values(ENTRY_OF);

/** Other sections that the kernel acts on while it loads the livepatch. */
const EARLY = new Set(['.altinstructions', '.altinstr_replacement', '.parainstructions', '__ex_table', '__bug_table']);

/**
 * References to modules from sections that the kernel acts on while it loads the livepatch, when the module may not be
 * there yet and they are not filled in (Documentation/livepatch/module-elf-format.rst; kernel/livepatch/core.c). What
 * works without is dropped from the object: a static call then goes through its trampoline, which lies in the module
 * and is always right; the tracepoint of a module stays as compiled, off. Anything else is a reason.
 */
export function resolveLateReferences(
  source: string,
  file: ElfFile,
  resolutions: ReadonlyMap<string, Resolution>,
  layouts: ReadonlyMap<string, StructLayout>,
): Reason[] {
  const reasons: Reason[] = [];
  for (const section of file.sections) {
    const late = lateSymbols(section, resolutions);
    if (late.size === 0) continue;
    const struct = ENTRY_OF[section.name];
    if (struct !== undefined) {
      const size = layouts.get(struct)?.size;
      if (size === undefined || section.size % size !== 0)
        throw new BuilderError(
          'object-unsupported',
          `the entries of ${section.name} (struct ${struct}) are not understood`,
        );
      dropEntries(section, size, (name) => late.has(name) && mayDrop(section, name));
    }
    for (const [symbol, resolution] of lateSymbols(section, resolutions)) {
      if (struct === undefined && !EARLY.has(section.name)) continue;
      const isKey = section.name === '__jump_table';
      const message = `${section.name} refers to ${symbol} of the module ${resolution.object}, which may be loaded later`;
      reasons.push({
        code: isKey ? 'jump-label-module-key' : 'late-relocation',
        verdict: 'refused',
        message: isKey ? `${message}: use static_key_enabled() in the fix instead of a static branch` : message,
        source,
        symbol,
      });
    }
  }
  dropUnused(file);
  return reasons;
}

function mayDrop(section: Section, symbol: string): boolean {
  return section.name === '.static_call_sites' || symbol.startsWith('__tracepoint_');
}

type KlpResolution = Extract<Resolution, { kind: 'klp' }>;

function lateSymbols(section: Section, resolutions: ReadonlyMap<string, Resolution>): Map<string, KlpResolution> {
  const late = new Map<string, KlpResolution>();
  for (const { symbol } of section.relocations) {
    const resolution = symbol.place === SHN_UNDEF ? resolutions.get(symbol.name) : undefined;
    if (resolution?.kind === 'klp' && resolution.object !== 'vmlinux') late.set(symbol.name, resolution);
  }
  return late;
}

/** Takes out the entries that refer to a symbol which `drops` names. */
function dropEntries(section: Section, size: number, drops: (symbol: string) => boolean): void {
  const kept: Uint8Array[] = [];
  const relocations = [];
  for (let start = 0; start < section.size; start += size) {
    const inside = section.relocations.filter(({ offset }) => offset >= start && offset < start + size);
    if (inside.some(({ symbol }) => symbol.place === SHN_UNDEF && drops(symbol.name))) continue;
    const shift = kept.length * size - start;
    for (const relocation of inside) relocations.push({ ...relocation, offset: relocation.offset + shift });
    kept.push(section.data.subarray(start, start + size));
  }
  section.data = Buffer.concat(kept);
  section.size = section.data.length;
  section.relocations = relocations;
}

/** Undefined symbols that nothing refers to any more would still have to be found at load time. */
function dropUnused(file: ElfFile): void {
  const used = new Set(file.sections.flatMap((section) => section.relocations.map(({ symbol }) => symbol)));
  file.symbols = file.symbols.filter((symbol) => symbol.place !== SHN_UNDEF || used.has(symbol));
}
