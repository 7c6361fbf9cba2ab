import type { Section } from '@kmend/elf';
import { type Address, lastNotAbove } from './address.ts';
import type { Findings } from './finding.ts';
import type { Loaded } from './loaded.ts';
import type { OwnCode } from './own-code.ts';
import type { RegisteredPatch } from './registration.ts';

/**
 * A piece of the livepatch that is reached as a whole: a function, a variable, or what lies between two places that are
 * referred to.
 */
interface Piece {
  readonly section: Section;
  readonly start: number;
  end: number;
  readonly targets: Set<Address>;
  /** Objects whose tables fill in fields of it, each with one such field. */
  readonly needs: Map<string, number>;
}

/**
 * Follows all that code can reach from the new functions of one patched object, and says where it meets a field that
 * only another object's table fills in: while that object is not loaded, the field is what the compiler left there. A
 * call with an empty field goes to the next instruction.
 */
export function checkReach(loaded: Loaded, own: OwnCode, patch: RegisteredPatch, findings: Findings): void {
  const pieces = new Pieces(loaded, own);
  for (const { name, functions, callbacks } of patch.objects) {
    const roots = [...functions.map(({ newFunction }) => newFunction), ...callbacks];
    for (const piece of pieces.from(roots)) {
      for (const [table, offset] of piece.needs) {
        if (table === 'vmlinux' || table === name) continue;
        const holder =
          own.functionAt((loaded.base(piece.section) ?? 0) + offset)?.function.name ??
          own.dataAt(piece.section, offset)?.name;
        const symbol = loaded.fields.get(piece.section)?.get(offset)?.symbol.name ?? '';
        const isPatched = patch.objects.some((object) => object.name === table);
        const why = isPatched ? `while ${table} is not loaded` : `as the livepatch does not patch ${table}`;
        findings.add(
          'relocation-unapplied',
          `${holder ?? piece.section.name}, which runs for ${name}, refers to ${symbol} at ${piece.section.name}+0x${offset.toString(16)}; the kernel does not fill that in ${why}`,
          { object: name, symbol: holder },
        );
      }
    }
  }
  for (const table of loaded.file.livepatchRelocations) {
    const object = /^\.klp\.rela\.([^.]*)/.exec(table.name)?.[1] ?? '';
    if (object !== 'vmlinux' && !patch.objects.some(({ name }) => name === object)) {
      findings.add(
        'relocation-unapplied',
        `${table.name} is for ${object}, which the livepatch does not patch: the kernel never applies it`,
        { object },
      );
    } else if (object !== 'vmlinux' && EARLY.test(table.target.name)) {
      findings.add(
        'relocation-unapplied',
        `${table.target.name} is used while the livepatch loads, before ${table.name} is applied`,
        { object },
      );
    }
  }
}

/**
 * Sections that the loader of modules acts on at once (arch/x86/kernel/module.c, module_finalize; kernel/jump_label.c,
 * kernel/static_call_inline.c).
 */
const EARLY =
  /^(?:__jump_table|\.static_call_sites|\.altinstructions|\.altinstr_replacement|\.parainstructions|\.smp_locks|__ex_table|__bug_table|__mcount_loc|\.orc_.*|\.return_sites|\.retpoline_sites|\.call_sites|\.ibt_endbr_seal|\.init\..*|\.gnu\.linkonce\.this_module)$/;

class Pieces {
  readonly #bySection = new Map<Section, { readonly starts: number[]; readonly pieces: Piece[] }>();
  readonly #loaded: Loaded;
  readonly #own: OwnCode;

  constructor(loaded: Loaded, own: OwnCode) {
    this.#loaded = loaded;
    this.#own = own;
    const cuts = new Map<Section, Set<number>>();
    const cut = (address: Address): void => {
      const place = loaded.at(address);
      if (place === undefined) return;
      // Inside a function or a variable is that function or variable.
      const held = own.functionAt(address)?.function ?? own.dataAt(place.section, place.offset);
      cuts.get(place.section)?.add(held?.start ?? place.offset);
    };
    for (const section of loaded.fields.keys()) cuts.set(section, new Set([0]));
    for (const one of [...own.functions, ...own.data])
      cuts
        .get(one.section)
        ?.add(one.start)
        .add(one.start + one.size);
    for (const { references } of own.functions) for (const { target } of references) cut(target);
    const values = this.#values();
    for (const { target } of values) if (target !== undefined) cut(target);
    for (const [section, starts] of cuts) {
      const sorted = [...starts].sort((a, b) => a - b);
      const pieces = sorted.map(
        (start, index): Piece => ({
          section,
          start,
          end: sorted[index + 1] ?? section.size,
          targets: new Set(),
          needs: new Map(),
        }),
      );
      this.#bySection.set(section, { starts: sorted, pieces });
    }
    for (const { section, start, references } of own.functions) {
      const piece = this.#at(section, start);
      for (const { target } of references) piece?.targets.add(target);
    }
    for (const { section, offset, target, table } of values) {
      const piece = this.#at(section, offset);
      if (target !== undefined) piece?.targets.add(target);
      if (table !== undefined) piece?.needs.set(table, offset);
    }
  }

  /** All pieces that are reached from addresses. */
  from(roots: readonly Address[]): Set<Piece> {
    const found = new Set<Piece>();
    const waiting = [...roots];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const place = this.#loaded.at(next);
      const piece = place === undefined ? undefined : this.#at(place.section, place.offset);
      if (piece === undefined || found.has(piece)) continue;
      found.add(piece);
      waiting.push(...piece.targets);
    }
    return found;
  }

  /** What relocated fields hold. */
  #values(): {
    readonly section: Section;
    readonly offset: number;
    readonly target: Address | undefined;
    readonly table: string | undefined;
  }[] {
    const found = [];
    for (const [section, fields] of this.#loaded.fields) {
      const base = this.#loaded.base(section) ?? 0;
      const memory = this.#loaded.memory(section);
      const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
      const isCode = this.#loaded.isCode(section);
      for (const [offset, { size, type, table }] of fields) {
        const value = size === 8 ? Number(view.getBigInt64(offset, true)) : view.getInt32(offset, true);
        const isRelative = type === 2 || type === 4 || type === 24;
        // In code the instruction says what a field means; its references are there already.
        const target = isRelative ? base + offset + value : value;
        const inFunction = isCode && this.#own.functionAt(base + offset) !== undefined;
        found.push({ section, offset, target: inFunction ? undefined : target, table });
      }
    }
    return found;
  }

  #at(section: Section, offset: number): Piece | undefined {
    const there = this.#bySection.get(section);
    return there?.pieces[lastNotAbove(there.starts, offset)];
  }
}
