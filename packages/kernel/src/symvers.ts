import { KernelError } from './error.ts';

/** One export: a line of Module.symvers (Documentation/kbuild/modules.rst). */
export interface ExportedSymbol {
  readonly name: string;
  /** CRC of the symbol's type, `0x` and eight hex digits. */
  readonly crc: string;
  /** `vmlinux`, or the module's name as `/proc/modules` spells it. */
  readonly object: string;
  readonly gplOnly: boolean;
  readonly namespace: string;
}

/** Module.symvers by symbol; `symvers-garbage` for a line that is not an export. */
export function parseSymvers(text: string): ReadonlyMap<string, ExportedSymbol> {
  const exports = new Map<string, ExportedSymbol>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [crc, name, module, type, namespace] = line.split('\t');
    if (!crc || !name || !module || !type?.startsWith('EXPORT_SYMBOL') || !/^0x[0-9a-f]{8}$/.test(crc)) {
      throw new KernelError('symvers-garbage', `Module.symvers has a line that is not an export: ${line.slice(0, 80)}`);
    }
    const object = (module.split('/').at(-1) ?? module).replaceAll('-', '_');
    exports.set(name, { name, crc, object, gplOnly: type.startsWith('EXPORT_SYMBOL_GPL'), namespace: namespace ?? '' });
  }
  return exports;
}
