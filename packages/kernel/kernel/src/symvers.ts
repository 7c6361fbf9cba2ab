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

/** Exports by symbol. */
export interface Exports {
  readonly size: number;
  has(name: string): boolean;
  get(name: string): ExportedSymbol | undefined;
}

/** Module.symvers by symbol; `symvers-garbage` for a line that is not an export. */
export function parseSymvers(text: string): Exports {
  // A build asks for a few hundred of ten thousands: what a line says is read when it is asked for.
  const lines = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    if (!/^0x[0-9a-f]{8}\t[^\t]+\t[^\t]+\tEXPORT_SYMBOL/.test(line)) {
      throw new KernelError('symvers-garbage', `Module.symvers has a line that is not an export: ${line.slice(0, 80)}`);
    }
    lines.set(line.slice(11, line.indexOf('\t', 11)), line);
  }
  return {
    size: lines.size,
    has: (name) => lines.has(name),
    get(name) {
      const [crc = '', , module = '', type = '', namespace = ''] = lines.get(name)?.split('\t') ?? [];
      if (crc === '') return undefined;
      const object = (module.split('/').at(-1) ?? module).replaceAll('-', '_');
      return { name, crc, object, gplOnly: type.startsWith('EXPORT_SYMBOL_GPL'), namespace };
    },
  };
}

/** Names of what vmlinux exports, by the text of Module.symvers. */
export function namesOfVmlinux(text: string): string[] {
  const lines = text.split('\n').map((line) => line.split('\t'));
  return lines.flatMap(([, name = '', object]) => (object === 'vmlinux' ? [name] : []));
}
