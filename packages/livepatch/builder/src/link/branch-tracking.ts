import { type ElfFile, type Section, SHF_ALLOC, SHF_EXECINSTR, SHN_UNDEF, sectionOf } from '@kmend/elf';
import { type KernelMemory, moduleSymbols, type SymbolTable } from '@kmend/kernel';
import { isBranch } from '../object/branch.ts';
import type { ObjectName, Reason, Resolution } from '../types.ts';

/** The functions of one shipped object of a kernel with CONFIG_X86_KERNEL_IBT. */
export interface TrackedObject {
  /**
   * Whether an indirect call may lead to a function: it begins with ENDBR, and the kernel does not overwrite that.
   * `undefined` where there is no function of that name at that position.
   */
  isCallable(name: string, sympos: number): boolean | undefined;
}

const ENDBR64 = 0xfa1e_0ff3;
const SEAL = '.ibt_endbr_seal';
const SEAL_ENTRY = 4;

/** vmlinux: the list of what is overwritten lies between two symbols (arch/x86/kernel/vmlinux.lds.S). */
export function trackedVmlinux(
  memory: Pick<KernelMemory, 'read' | 'isCode'>,
  symbols: Pick<SymbolTable, 'named'>,
): TrackedObject {
  const sealed = new Set<bigint>();
  const start = symbols.named('__ibt_endbr_seal')[0]?.address;
  const end = symbols.named('__ibt_endbr_seal_end')[0]?.address;
  const list = start === undefined || end === undefined ? undefined : memory.read(start, Number(end - start));
  if (start !== undefined && list !== undefined) {
    const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
    for (let at = 0; at + SEAL_ENTRY <= list.length; at += SEAL_ENTRY)
      sealed.add(BigInt.asUintN(64, start + BigInt(at + view.getInt32(at, true))));
  }
  return {
    isCallable(name, sympos) {
      const found = symbols.named(name)[Math.max(0, sympos - 1)];
      if (found === undefined || !memory.isCode(found.address)) return undefined;
      return beginsWithEndbr(memory.read(found.address, SEAL_ENTRY)) && !sealed.has(found.address);
    },
  };
}

/** A module: the list is a section, whose relocations lead to the functions. */
export function trackedModule(module: ElfFile): TrackedObject {
  const places = new Map<Section, Set<number>>();
  for (const { relocations } of module.sections.filter((section) => section.name === SEAL)) {
    for (const { symbol, addend } of relocations) {
      const section = sectionOf(symbol);
      if (section === undefined) continue;
      const known = places.get(section) ?? new Set();
      places.set(section, known.add(Number(symbol.value + addend)));
    }
  }
  // moduleSymbols decides what counts for sympos; its order is that of the table.
  const counted = new Set(moduleSymbols(module).map(({ name }) => name));
  return {
    isCallable(name, sympos) {
      const named = module.symbols.filter((symbol) => symbol.name === name && counted.has(name) && sectionOf(symbol));
      const found = named[Math.max(0, sympos - 1)];
      const section = found === undefined ? undefined : sectionOf(found);
      if (found === undefined || section === undefined || (section.flags & SHF_EXECINSTR) === 0) return undefined;
      const start = Number(found.value);
      const isSealed = places.get(section)?.has(start) ?? false;
      return beginsWithEndbr(section.data.subarray(start, start + SEAL_ENTRY)) && !isSealed;
    },
  };
}

function beginsWithEndbr(code: Uint8Array | undefined): boolean {
  return code?.length === SEAL_ENTRY && new DataView(code.buffer, code.byteOffset).getUint32(0, true) === ENDBR64;
}

/**
 * References of new code and data to kernel functions whose address may not be called through. At boot the kernel
 * overwrites the ENDBR of functions whose address it never takes (arch/x86/kernel/alternative.c, apply_seal_endbr), and
 * gcc gives static ones none to begin with: an indirect call to them is a control-protection fault. QEMU's emulation
 * does not show it. `trackedOf`: `undefined` where the kernel does not track branches.
 */
export async function sealedReasons(
  source: string,
  file: ElfFile,
  resolutions: ReadonlyMap<string, Resolution>,
  trackedOf: (object: ObjectName) => Promise<TrackedObject | undefined>,
): Promise<Reason[]> {
  const reasons = new Map<string, Reason>();
  for (const section of file.sections) {
    if (!keepsAddresses(section)) continue;
    const isCode = (section.flags & SHF_EXECINSTR) !== 0;
    for (const relocation of section.relocations) {
      const { symbol } = relocation;
      if (symbol.place !== SHN_UNDEF || reasons.has(symbol.name) || (isCode && isBranch(section, relocation))) continue;
      const resolution = resolutions.get(symbol.name);
      if (resolution === undefined) continue;
      const meant =
        resolution.kind === 'klp' ? resolution : { object: 'vmlinux', symbol: resolution.exportedName, sympos: 0 };
      const tracked = await trackedOf(meant.object);
      if (tracked?.isCallable(meant.symbol, meant.sympos) !== false) continue;
      const message = `${section.name} takes the address of ${meant.symbol} of ${meant.object}, which no pointer may call: the kernel has no ENDBR there, or overwrites it at boot; call it directly in the fix`;
      reasons.set(symbol.name, { code: 'endbr-sealed', verdict: 'refused', message, source, symbol: meant.symbol });
    }
  }
  return [...reasons.values()];
}

/** Code and data; no code calls the addresses in the loader's tables. */
function keepsAddresses({ name, flags }: Section): boolean {
  return (flags & SHF_ALLOC) !== 0 && ((flags & SHF_EXECINSTR) !== 0 || /^\.(?:data|rodata|bss)/.test(name));
}
