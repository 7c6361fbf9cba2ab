import { gunzipSync } from 'node:zlib';
import type { ElfFile } from '@kmend/elf';
import { KernelError } from '../error.ts';
import { KernelMemory } from '../image/memory.ts';
import type { KernelSymbol } from '../kernel.ts';

/** What a vmlinux says of itself. */
export interface VmlinuxFacts {
  /** `Linux version 6.1.170-own (...) (gcc ..., GNU ld ...) #1 SMP ...` (init/version.c). */
  readonly banner: string;
  readonly release: string;
  /** What its modules must say of themselves, e.g. `6.1.170-own SMP mod_unload modversions` (linux/vermagic.h). */
  readonly vermagic: string;
  /** CRC by name of each export; `undefined` where the tables are not those of a known kernel. */
  readonly exports: ReadonlyMap<string, number> | undefined;
  /** Text of `.config` that it carries (CONFIG_IKCONFIG=y). */
  readonly config: string | undefined;
}

/** Bytes of a text in the kernel that is read: the banner has 200 to 300. */
const TEXT_LIMIT = 1024;
const CONFIG_LIMIT = 4 << 20;

/** Reads them. `kallsyms-not-found` where the symbols of data are missing. */
export function readFacts(vmlinux: ElfFile, symbols: readonly KernelSymbol[]): VmlinuxFacts {
  const memory = new KernelMemory(vmlinux);
  const addresses = new Map(symbols.map(({ name, address }) => [name, address]));
  const textAt = (name: string): string => {
    const address = addresses.get(name);
    const text = address === undefined ? undefined : memory.text(address, TEXT_LIMIT);
    if (text !== undefined) return text;
    throw new KernelError('kallsyms-not-found', `the kernel's symbol table does not have ${name}: it is stripped`, {
      hint: 'build the kernel with CONFIG_KALLSYMS_ALL=y, which CONFIG_LIVEPATCH needs',
    });
  };
  const banner = textAt('linux_banner').trim();
  const release = /^Linux version (\S+) /.exec(banner)?.[1];
  if (release === undefined)
    throw new KernelError('image-unsupported', `the kernel calls itself ${JSON.stringify(banner.slice(0, 80))}`);
  return {
    banner,
    release,
    vermagic: textAt('vermagic').trim(),
    exports: readExports(memory, addresses),
    config: embeddedConfig(vmlinux),
  };
}

/** Bytes of a `struct kernel_symbol` with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (include/linux/export-internal.h). */
const EXPORT_SIZE = 12;

/**
 * CRCs of what vmlinux exports, from the tables that modules are checked against when they load
 * (kernel/module/version.c). Without CONFIG_MODVERSIONS there are none: 0 stands for each.
 */
function readExports(
  memory: KernelMemory,
  addresses: ReadonlyMap<string, bigint>,
): ReadonlyMap<string, number> | undefined {
  const exports = new Map<string, number>();
  for (const table of ['', '_gpl']) {
    const start = addresses.get(`__start___ksymtab${table}`);
    const stop = addresses.get(`__stop___ksymtab${table}`);
    if (start === undefined || stop === undefined) {
      // Newer kernels have one table for all.
      if (table === '_gpl' && exports.size > 0) continue;
      return undefined;
    }
    const crcs = addresses.get(`__start___kcrctab${table}`);
    const hasCrcs = crcs !== undefined && addresses.get(`__stop___kcrctab${table}`) !== crcs;
    for (let at = start, index = 0; at + BigInt(EXPORT_SIZE) <= stop; at += BigInt(EXPORT_SIZE), index++) {
      const entry = memory.read(at, EXPORT_SIZE);
      if (entry === undefined) return undefined;
      const name = memory.text(at + 4n + BigInt(viewOf(entry).getInt32(4, true)), TEXT_LIMIT);
      if (name === undefined || name === '') return undefined;
      const crc = hasCrcs ? memory.read(crcs + BigInt(index * 4), 4) : undefined;
      exports.set(name, crc === undefined ? 0 : viewOf(crc).getUint32(0, true));
    }
  }
  return exports;
}

/** `IKCFG_ST`, the gzipped `.config`, `IKCFG_ED` (kernel/configs.c); a vmlinux has it, or the module `configs`. */
export function embeddedConfig(file: ElfFile): string | undefined {
  for (const { data } of file.sections) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const start = bytes.indexOf('IKCFG_ST\x1f\x8b', 0, 'latin1');
    if (start === -1) continue;
    const end = bytes.indexOf('IKCFG_ED', start, 'latin1');
    try {
      return gunzipSync(bytes.subarray(start + 8, end), { maxOutputLength: CONFIG_LIMIT }).toString('utf8');
    } catch {
      // The words alone, as a text somewhere: no configuration.
    }
  }
  return undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
