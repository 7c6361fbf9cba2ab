import {
  type ElfFile,
  type ElfSymbol,
  isPcRelative,
  type LivepatchRelocations,
  type Relocation,
  relocationSize,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHN_ABS,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  STB_WEAK,
  sectionOf,
} from '@kmend/elf';
import { type Address, hex, LIVEPATCH_START, lastNotAbove } from './address.ts';
import type { Findings } from './finding.ts';
import { modinfo } from './shipped-module.ts';
import type { World } from './world.ts';

/** A field that a relocation fills in, and by which table. */
export interface Filled {
  readonly size: number;
  readonly type: number;
  readonly symbol: ElfSymbol;
  /** `undefined`: an ordinary one, always; else the object of the `.klp.rela` table. */
  readonly table: string | undefined;
}

/** A place in a section of the livepatch. */
export interface SectionPlace {
  readonly section: Section;
  /** Bytes from the section's start. */
  readonly offset: number;
}

/** A livepatch symbol's name, as klp_resolve_symbols() reads it: `.klp.sym.%55[^.].%511[^,],%lu`. */
export interface KlpName {
  readonly object: string;
  readonly name: string;
  readonly sympos: number;
}

export function parseKlpName(text: string): KlpName | undefined {
  const found = /^\.klp\.sym\.([^.]{1,55})\.([^,]{1,511}),(\d{1,15})/.exec(text);
  const [, object = '', name = '', sympos = ''] = found ?? [];
  return found === null ? undefined : { object, name, sympos: Number(sympos) };
}

/** What of the shipped kernel it takes to load a module. */
export type SymbolSource = Pick<World, 'exports' | 'exportedAt' | 'find' | 'withDependencies'>;

/** The object of a table, as klp_apply_section_relocs() reads it: `.klp.rela.%55[^.]`. */
export function tableObject(name: string): string | undefined {
  return /^\.klp\.rela\.([^.]{1,55})/.exec(name)?.[1];
}

/**
 * The livepatch in memory: sections at addresses, and every relocation applied that the kernel applies when everything
 * that the livepatch patches is loaded. Which table filled in a field is kept, since a module's are filled in only
 * while that module is there.
 */
export class Loaded {
  readonly file: ElfFile;
  readonly fields = new Map<Section, Map<number, Filled>>();
  readonly #bases = new Map<Section, Address>();
  readonly #memory = new Map<Section, Uint8Array>();
  readonly #placed: { readonly section: Section; readonly base: Address }[] = [];
  readonly #starts: number[];
  readonly #values = new Map<ElfSymbol, Address>();

  constructor(file: ElfFile) {
    this.file = file;
    let at = LIVEPATCH_START;
    for (const section of file.sections) {
      if ((section.flags & SHF_ALLOC) === 0) continue;
      const align = Math.max(16, section.align);
      at = Math.ceil(at / align) * align;
      this.#bases.set(section, at);
      this.#placed.push({ section, base: at });
      this.#memory.set(section, section.data.length > 0 ? Uint8Array.from(section.data) : new Uint8Array(0));
      this.fields.set(section, new Map());
      at += section.size + 16;
    }
    this.#starts = this.#placed.map(({ base }) => base);
  }

  base(section: Section): Address | undefined {
    return this.#bases.get(section);
  }

  memory(section: Section): Uint8Array {
    return this.#memory.get(section) ?? new Uint8Array(0);
  }

  /** The section at an address of the livepatch; its end counts as part of it, as ends of tables do. */
  at(address: Address): SectionPlace | undefined {
    const placed = this.#placed[lastNotAbove(this.#starts, address)];
    if (placed === undefined || address > placed.base + placed.section.size) return undefined;
    return { section: placed.section, offset: address - placed.base };
  }

  addressOf(symbol: ElfSymbol): Address | undefined {
    const section = sectionOf(symbol);
    if (section === undefined) return this.#values.get(symbol);
    const base = this.#bases.get(section);
    return base === undefined ? undefined : base + Number(symbol.value);
  }

  /**
   * kernel/module/main.c, simplify_symbols(); kernel/livepatch/core.c, klp_resolve_symbols(); arch/x86/kernel/module.c.
   */
  relocate(world: SymbolSource, findings: Findings): void {
    this.#exports(world, findings);
    for (const section of this.file.sections) {
      if ((section.flags & SHF_ALLOC) !== 0)
        for (const relocation of section.relocations) this.#apply(section, relocation, undefined, findings);
    }
    const names = new Set<string>();
    for (const table of this.file.livepatchRelocations) {
      if (names.has(table.name)) {
        findings.add(
          'load-refused',
          `there are two sections ${table.name}: the kernel makes a file of each in sysfs and cannot make two of one name`,
        );
      }
      names.add(table.name);
      this.#table(table, world, findings);
    }
  }

  #exports(world: SymbolSource, findings: Findings): void {
    const namespaces = new Set(modinfo(this.file, 'import_ns'));
    const versions = versionsOf(this.file);
    for (const [name, version] of versions) {
      const known = world.exports.get(name);
      if (known === undefined || Number(known.crc) === version) continue;
      findings.add(
        'load-refused',
        `the livepatch has version ${version.toString(16)} for ${name}, the kernel ${known.crc}`,
        { symbol: name },
      );
    }
    for (const symbol of this.file.symbols) {
      if (symbol.place === SHN_ABS) this.#values.set(symbol, Number(BigInt.asIntN(64, symbol.value)));
      if (symbol.place !== SHN_UNDEF || symbol.name === '') continue;
      const exported = world.exports.get(symbol.name);
      const address = exported?.object === 'vmlinux' ? world.exportedAt(symbol.name) : undefined;
      if (address === undefined) {
        if (symbol.bind === STB_WEAK && exported === undefined) {
          this.#values.set(symbol, 0);
          continue;
        }
        const why =
          exported === undefined
            ? 'nothing exports it'
            : `the module ${exported.object} exports it, and the livepatch must load without`;
        findings.add('load-refused', `the livepatch needs ${symbol.name}, but ${why}`, { symbol: symbol.name });
        continue;
      }
      this.#values.set(symbol, address);
      if (Number(exported?.crc ?? 0) !== 0 && !versions.has(symbol.name)) {
        findings.add('load-refused', `the livepatch has no version for ${symbol.name}`, { symbol: symbol.name });
      }
      if (exported !== undefined && exported.namespace !== '' && !namespaces.has(exported.namespace)) {
        findings.add(
          'load-refused',
          `${symbol.name} is exported to the namespace ${exported.namespace}, which the livepatch does not import`,
          { symbol: symbol.name },
        );
      }
    }
  }

  #table(table: LivepatchRelocations, world: SymbolSource, findings: Findings): void {
    const object = tableObject(table.name);
    if (object === undefined) {
      findings.add('load-refused', `the kernel cannot read the name of the section ${table.name}`);
      return;
    }
    const place = { object };
    const present = object === 'vmlinux' ? new Set<string>() : world.withDependencies(object);
    const refused = object === 'vmlinux' ? 'load-refused' : 'object-refused';
    for (const relocation of table.relocations) {
      const { symbol } = relocation;
      const name = parseKlpName(symbol.name);
      if (symbol.place !== SHN_LIVEPATCH || name === undefined) {
        findings.add(refused, `${table.name} refers to ${symbol.name}, which is no livepatch symbol`, place);
        continue;
      }
      if (object !== 'vmlinux' && name.object === 'vmlinux') {
        findings.add(
          refused,
          `${table.name} refers to ${name.name} of vmlinux: the kernel refuses that in a module's table`,
          place,
        );
        continue;
      }
      if (name.object !== 'vmlinux' && !present.has(name.object)) {
        const why =
          object === 'vmlinux'
            ? 'is applied when the livepatch loads'
            : `is applied when ${object} loads, which does not bring ${name.object}`;
        findings.add(refused, `${table.name} refers to ${name.name} of ${name.object}, but ${why}`, place);
        continue;
      }
      const found = world.find(name.object, name.name, name.sympos);
      if ('fault' in found) {
        findings.add(refused, `${table.name}: ${symbol.name}: ${found.fault}`, place);
        continue;
      }
      this.#values.set(symbol, found.address);
      this.#apply(table.target, relocation, object, findings);
    }
  }

  #apply(
    section: Section,
    { offset, type, symbol, addend }: Relocation,
    table: string | undefined,
    findings: Findings,
  ): void {
    const fields = this.fields.get(section);
    const base = this.#bases.get(section);
    const memory = this.memory(section);
    const size = relocationSize(type);
    const where = `${section.name}+0x${offset.toString(16)}`;
    if (fields === undefined || base === undefined) {
      findings.add('relocation-unapplied', `a relocation of ${where} is in a section that is not loaded`);
      return;
    }
    if (size === undefined || offset + size > memory.length) {
      findings.add('load-refused', `the kernel cannot apply the relocation of type ${type} at ${where}`);
      return;
    }
    if (size === 0) return;
    for (let at = offset - 7; at < offset + size; at++) {
      const other = fields.get(at);
      if (other !== undefined && at + other.size > offset) {
        findings.add(
          'load-refused',
          `two relocations fill in ${where}: the kernel refuses the second, as the field is not zero`,
        );
        return;
      }
    }
    if (memory.subarray(offset, offset + size).some((byte) => byte !== 0)) {
      findings.add('load-refused', `the field of a relocation at ${where} is not zero: the kernel refuses it`);
      return;
    }
    if (symbol.place === SHN_LIVEPATCH && table === undefined) {
      findings.add(
        'relocation-unapplied',
        `an ordinary relocation of ${where} refers to the livepatch symbol ${symbol.name}, which nothing resolves`,
      );
      return;
    }
    const target = this.addressOf(symbol);
    if (target === undefined) return;
    const value = target + Number(addend) - (isPcRelative(type) ? base + offset : 0);
    const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    if (size === 8) view.setBigInt64(offset, BigInt(value), true);
    else {
      view.setInt32(offset, value, true);
      const stored = type === R_X86_64_32 ? view.getUint32(offset, true) : view.getInt32(offset, true);
      if (stored !== value) {
        findings.add(
          'load-refused',
          `the relocation at ${where} to ${symbol.name || 'a section'} does not fit: ${hex(value)}`,
        );
      }
    }
    fields.set(offset, { size, type, symbol, table });
  }

  isCode(section: Section): boolean {
    return (section.flags & SHF_EXECINSTR) !== 0;
  }

  /** An address kept in eight bytes. */
  pointer(address: Address): Address | undefined {
    const place = this.at(address);
    if (place === undefined) return undefined;
    const memory = this.memory(place.section);
    if (place.offset + 8 > memory.length) return undefined;
    const value = new DataView(memory.buffer, memory.byteOffset, memory.byteLength).getBigInt64(place.offset, true);
    return Number(value);
  }

  /** A C string in the livepatch. */
  text(address: Address): string | undefined {
    const place = this.at(address);
    if (place === undefined) return undefined;
    const memory = Buffer.from(this.memory(place.section).buffer, 0);
    const end = memory.indexOf(0, place.offset);
    return end < 0 || end - place.offset > 4096 ? undefined : memory.toString('latin1', place.offset, end);
  }
}

const R_X86_64_32 = 10;

/** CRCs that the module was built against (struct modversion_info). */
function versionsOf(file: ElfFile): Map<string, number> {
  const section = file.sections.find(({ name }) => name === '__versions');
  const found = new Map<string, number>();
  if (section === undefined) return found;
  const bytes = Buffer.from(section.data);
  for (let at = 0; at + 64 <= bytes.length; at += 64) {
    const end = bytes.indexOf(0, at + 8);
    found.set(bytes.toString('latin1', at + 8, Math.min(end < 0 ? at + 64 : end, at + 64)), bytes.readUInt32LE(at));
  }
  return found;
}
