import { type ElfFile, SHF_ALLOC, SHT_NOBITS } from '@kmend/elf';
import { isKernelCode } from './kernel-code.ts';

/** The loaded parts of a vmlinux, by address. */
export class KernelMemory {
  readonly #parts: readonly {
    readonly start: bigint;
    readonly end: bigint;
    readonly data: Uint8Array;
    readonly name: string;
    readonly isCode: boolean;
  }[];

  constructor(vmlinux: ElfFile) {
    this.#parts = vmlinux.sections
      // Per-cpu data is linked at address 0 on x86-64: not addressable this way.
      .filter(
        (section) =>
          (section.flags & SHF_ALLOC) !== 0 && section.type !== SHT_NOBITS && section.address > 0xffff_0000_0000_0000n,
      )
      .map((section) => ({
        start: section.address,
        end: section.address + BigInt(section.data.length),
        data: section.data,
        name: section.name,
        isCode: isKernelCode(section),
      }));
  }

  /** Bytes at an address, or `undefined` where the file holds none (bss, outside). */
  read(address: bigint, size: number): Uint8Array | undefined {
    const part = this.#parts.find(({ start, end }) => address >= start && address + BigInt(size) <= end);
    if (part === undefined) return undefined;
    const offset = Number(address - part.start);
    return part.data.subarray(offset, offset + size);
  }

  /** Whether a section of code lies at an address. */
  isCode(address: bigint): boolean {
    return this.#parts.some(({ start, end, isCode }) => isCode && address >= start && address < end);
  }

  /** The text at an address, of at most `limit` bytes up to its zero; `undefined` where there is none. */
  text(address: bigint, limit: number): string | undefined {
    const part = this.#parts.find(({ start, end }) => address >= start && address < end);
    if (part === undefined) return undefined;
    const offset = Number(address - part.start);
    const bytes = part.data.subarray(offset, offset + limit);
    const end = bytes.indexOf(0);
    return end === -1 ? undefined : Buffer.from(bytes.subarray(0, end)).toString('latin1');
  }
}
