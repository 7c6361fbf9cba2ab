import { sha256 } from '@kmend/base/node';
import { sectionOf } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import { isOwnCopy } from '../object/own-copy.ts';
import { isPieceSection } from '../object/tables.ts';
import type { ObjectView, Part, Target } from '../object/view.ts';

/**
 * A text for a part of an object that is the same in two compilations exactly when the part does the same: its bytes
 * without the relocated fields, and each relocation by what it points at. Functions include their table entries.
 */
export class Fingerprints {
  readonly #view: ObjectView;
  readonly #keyOf: (atom: Atom) => string;
  readonly #known = new Map<Atom, string>();
  readonly #contents = new Map<Atom, string>();

  /** `keyOf`: the name under which a part is known in both objects. */
  constructor(view: ObjectView, keyOf: (atom: Atom) => string) {
    this.#view = view;
    this.#keyOf = keyOf;
  }

  of(atom: Atom): string {
    const known = this.#known.get(atom);
    if (known !== undefined) return known;
    const entries = this.#view.entriesOf(atom).filter(({ meaningful }) => meaningful);
    const tables = entries.map((entry) => `${entry.section.name}(${withoutPadding(this.#part(entry))})`);
    const type = atom.prefix === undefined ? '' : this.#bytes({ ...atom, start: atom.prefix, end: atom.start });
    const print = `${atom.section.name.split('.')[1] ?? ''}|${type}${this.#part(atom)}|${tables.join(';')}`;
    this.#known.set(atom, print);
    return print;
  }

  /**
   * The content of data that has no identity of its own, as a digest: constants can be large, and used in many places.
   */
  content(atom: Atom): string {
    const known = this.#contents.get(atom);
    if (known !== undefined) return known;
    // A constant that leads back to itself.
    this.#contents.set(atom, '...');
    const part = this.#part(atom);
    const content = sha256(atom.kind === 'anonymous' ? withoutPadding(part) : part);
    this.#contents.set(atom, content);
    return content;
  }

  #bytes({ section, start, end }: Part): string {
    return Buffer.from(section.data.subarray(start, end)).toString('hex');
  }

  #part(part: Part): string {
    const bytes = Buffer.from(part.section.data.subarray(part.start, part.end));
    const relocations: string[] = [];
    for (const { offset, width, type, target } of this.#view.referencesIn(part)) {
      const at = offset - part.start;
      bytes.fill(0, at, Math.min(bytes.length, at + width));
      relocations.push(`${at}:${type}:${this.target(target)}`);
    }
    // Beside its texts a record of dynamic debugging has the line, and flags that the running kernel keeps in its own.
    const shown = part.section.name === '__dyndbg' ? '' : bytes.toString('hex');
    return `${part.end - part.start}:${shown}[${relocations.join(',')}]`;
  }

  /** What a reference leads to. */
  target(target: Target): string {
    const { atom, entry, offset, symbol } = target;
    // Not by its place: that of another function's entry may come before it.
    if (entry !== undefined) return `entry ${entry.section.name} ${entry.index}+${offset}`;
    if (atom === undefined) return `outside ${symbol.name || sectionOf(symbol)?.name}+${offset}`;
    // As bytes: two that are no UTF-8 are two texts.
    if (atom.kind === 'string') {
      return `text ${Buffer.from(atom.section.data.subarray(atom.start + offset, atom.end)).toString('latin1')}`;
    }
    if (atom.kind === 'function') return `code ${this.#keyOf(atom)}+${offset}`;
    if (isPieceSection(atom.section)) return `piece ${this.content(atom)}+${offset}`;
    if (atom.kind === 'anonymous') return `constant ${this.content(atom)}+${offset}`;
    if (isOwnCopy(atom)) return `copy ${this.content(atom)}+${offset}`;
    return `data ${this.#keyOf(atom)}+${offset}`;
  }
}

/** Where a nameless constant or the last entry of a table ends, nothing tells: zeros behind it may be filling. */
function withoutPadding(part: string): string {
  return part.replace(/^\d+:/, '').replace(/(?:00)*\[/, '[');
}
