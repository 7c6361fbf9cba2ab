import { readElf } from '@kmend/elf';
import { KernelError } from '../error.ts';
import type { KernelSymbol } from '../kernel.ts';
import { findAddresses } from './kallsyms-addresses.ts';
import { findNames, type Names, WALK_BUDGET } from './kallsyms-names.ts';
import { findTokens } from './kallsyms-tokens.ts';

/** Alignment of the tables in bytes: 8 in 6.1 and 6.12, 4 in 7.2 (`output_label` of scripts/kallsyms.c). */
const ALIGNMENTS = [8, 4] as const;

/**
 * Decodes the symbol table that the kernel itself uses (scripts/kallsyms.c writes it, kernel/kallsyms.c reads it) from
 * the bytes of a vmlinux. The tables have no headers and no fixed order, so each is found by its structure and accepted
 * only when another one confirms it. In kallsyms order: by address, as `sympos` counts. `kallsyms-not-found` after a
 * bounded search.
 */
export function decodeKallsyms(vmlinux: Uint8Array): KernelSymbol[] {
  const bytes = Buffer.from(vmlinux.buffer, vmlinux.byteOffset, vmlinux.byteLength);
  const { segments } = readElf(vmlinux);
  const budget = { steps: WALK_BUDGET };
  for (const align of ALIGNMENTS) {
    for (const tokens of findTokens(bytes, align)) {
      const names = findNames(bytes, tokens, align, budget);
      if (names === undefined) continue;
      const addresses = findAddresses(bytes, segments, tokens, names, align);
      if (addresses !== undefined) return symbolsOf(names, addresses);
    }
  }
  throw new KernelError('kallsyms-not-found', 'the kernel image has no symbol table that can be decoded', {
    hint: 'CONFIG_KALLSYMS_ALL is needed; if the kernel has it, its layout is new: please report the release',
  });
}

function symbolsOf(names: Names, addresses: readonly bigint[]): KernelSymbol[] {
  return names.texts.map((text, index) => ({
    name: text.slice(1),
    type: text.slice(0, 1),
    address: addresses[index] ?? 0n,
  }));
}
