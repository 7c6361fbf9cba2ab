import type { ElfFile } from '@kmend/elf';

/** What a module says of the kernel that it was built for. */
export interface ModuleFacts {
  readonly vermagic: string | undefined;
  /** CRC by name of each symbol that it takes from elsewhere; empty without CONFIG_MODVERSIONS. */
  readonly imports: ReadonlyMap<string, number>;
  readonly hasSymbols: boolean;
}

/** Bytes of a `struct modversion_info`: an `unsigned long`, and a name up to MODULE_NAME_LEN (linux/module.h). */
const VERSION_SIZE = 64;

export function moduleFacts(module: ElfFile): ModuleFacts {
  const sectionOf = (name: string): Buffer => {
    const data = module.sections.find((section) => section.name === name)?.data ?? new Uint8Array();
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  };
  const words = sectionOf('.modinfo').toString('latin1').split('\0');
  const versions = sectionOf('__versions');
  const imports = new Map<string, number>();
  for (let at = 0; at + VERSION_SIZE <= versions.length; at += VERSION_SIZE) {
    const name = versions.toString('latin1', at + 8, at + VERSION_SIZE).split('\0', 1)[0] ?? '';
    imports.set(name, versions.readUInt32LE(at));
  }
  return {
    vermagic: words
      .find((word) => word.startsWith('vermagic='))
      ?.slice('vermagic='.length)
      .trim(),
    imports,
    hasSymbols: module.symbols.some(({ name }) => name !== ''),
  };
}
