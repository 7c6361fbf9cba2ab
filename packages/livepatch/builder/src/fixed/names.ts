import { relocationSize } from '@kmend/elf';
import type { ShippedImage } from '../byte-proof/image.ts';
import { decode, isContent } from '../byte-proof/match.ts';
import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import { isOwnCopy } from '../object/own-copy.ts';
import type { ObjectView, Target } from '../object/view.ts';
import { isSameRecord, ubsanRecord } from './ubsan-record.ts';

const SYMBOL_PREFIX = '.klp.sym.';

/** The name that the kernel knows: `.klp.sym.vmlinux.do_exit,0` stands for `do_exit`. */
export function plainName(name: string): string {
  if (!name.startsWith(SYMBOL_PREFIX)) return name;
  const rest = name.slice(SYMBOL_PREFIX.length);
  return rest.slice(rest.indexOf('.') + 1).replace(/,\d+$/, '');
}

/**
 * The first field of matched code that leads to something of another name than here; `undefined` where there is none.
 * Equal bytes and one place a symbol are enough for the byte proof, whose two sides are the same source; two sources
 * may well differ in a name alone: a fix that takes another static table. `places`: where names that occur more than
 * once are known to lie.
 */
export function misnamed(
  view: ObjectView,
  image: ShippedImage,
  atom: Atom,
  address: bigint,
  places: ReadonlyMap<string, bigint> = new Map(),
): string | undefined {
  return new NameCheck(view, image, places).check(atom, address);
}

class NameCheck {
  readonly #view: ObjectView;
  readonly #image: ShippedImage;
  readonly #places: ReadonlyMap<string, bigint>;
  /** Where the code under test and the nameless constants it uses lie. */
  readonly #own = new Map<Atom, bigint>();

  constructor(view: ObjectView, image: ShippedImage, places: ReadonlyMap<string, bigint>) {
    this.#view = view;
    this.#image = image;
    this.#places = places;
  }

  check(atom: Atom, address: bigint): string | undefined {
    this.#own.set(atom, address);
    for (const { offset, type, symbol, addend } of this.#view.relocationsIn(atom)) {
      const width = relocationSize(type);
      if (width === undefined || width === 0) continue;
      const target = this.#view.targetOf(atom.section, { offset, type, symbol, addend });
      const at = offset - atom.start;
      const bytes = this.#image.read(address + BigInt(at), width);
      if (bytes === undefined) return `at +0x${at.toString(16)} the fixed kernel has nothing`;
      const pointed = decode(bytes, 0, width, type, address + BigInt(at)) + BigInt(target.bias);
      const record = ubsanRecord(this.#view, atom, offset, plainName);
      if (record !== undefined && isSameRecord(this.#view, target, record, this.#image, BigInt.asUintN(64, pointed)))
        continue;
      const problem = this.#target(target, BigInt.asUintN(64, pointed - BigInt(target.offset)));
      if (problem !== undefined) return `at +0x${at.toString(16)} ${problem}`;
    }
    return undefined;
  }

  #target({ atom, entry, symbol }: Target, start: bigint): string | undefined {
    // What the match itself has shown.
    if (entry !== undefined) return undefined;
    if (atom !== undefined && isContent(atom)) return undefined;
    if (atom !== undefined) {
      const known = this.#own.get(atom);
      if (known !== undefined) return known === start ? undefined : 'another place of the same code is meant';
    }
    const name = atom === undefined ? symbol.name : (atom.symbol?.name ?? '');
    // Constants without a name, and conversion tables: what is in them counts, as far as the file has bytes of it.
    if (atom !== undefined && (name === '' || name.startsWith('.L') || /^CSWTCH\b/.test(name)))
      return this.#content(atom, start);
    if (name.startsWith('__UNIQUE_ID_')) return undefined;
    const plain = stem(plainName(name));
    const known = this.#places.get(plain);
    if (known !== undefined) return known === start ? undefined : `another ${plain} is meant`;
    const names = this.#image.namesAt(start);
    if (names.some((candidate) => stem(candidate) === plain)) return undefined;
    // `__already_done`, `__key`: of one name in a module's table, of none where the linker merged them.
    if (names.length === 0 && atom !== undefined && isOwnCopy(atom)) return undefined;
    return `the livepatch leads to ${plainName(name)}, the fixed kernel to ${names[0] ?? `0x${start.toString(16)}`}`;
  }

  #content(atom: Atom, start: bigint): string | undefined {
    const own = atom.section.data.subarray(atom.start, atom.end);
    const there = this.#image.read(start, own.length);
    if (there === undefined || own.length === 0) return undefined;
    const relocated = new Set<number>();
    for (const { offset, type } of this.#view.relocationsIn(atom)) {
      for (let at = 0; at < (relocationSize(type) ?? 0); at++) relocated.add(offset - atom.start + at);
    }
    for (const [at, byte] of own.entries())
      if (!relocated.has(at) && byte !== there[at]) return 'another constant is used';
    return this.check(atom, start);
  }
}
