import { relocationSize } from '@kmend/elf';
import { isOwnCopy } from '../object/names.ts';
import { isPieceSection } from '../object/tables.ts';
import type { Atom, Entry, ObjectView, Target } from '../object/view.ts';

const DEPTH_LIMIT = 6;

/**
 * A text for a part of an object that is the same in two compilations exactly when the part does the same: its bytes without the
 * relocated fields, and each relocation by what it points at. Functions include their table entries.
 */
export class Fingerprints {
  readonly #view: ObjectView;
  readonly #keyOf: (atom: Atom) => string;
  readonly #known = new Map<Atom, string>();

  /** `keyOf`: the name under which a part is known in both objects. */
  constructor(view: ObjectView, keyOf: (atom: Atom) => string) {
    this.#view = view;
    this.#keyOf = keyOf;
  }

  of(atom: Atom): string {
    const known = this.#known.get(atom);
    if (known !== undefined) return known;
    const entries = this.#view.entriesOf(atom).filter(({ meaningful }) => meaningful);
    const tables = entries.map((entry) => `${entry.section.name}(${this.#part(entry, 0)})`);
    const print = `${atom.section.name.split('.')[1] ?? ''}|${this.#part(atom, 0)}|${tables.join(';')}`;
    this.#known.set(atom, print);
    return print;
  }

  /** The content of data that has no identity of its own. */
  content(atom: Atom, depth: number): string {
    return depth > DEPTH_LIMIT ? '...' : this.#part(atom, depth + 1);
  }

  #part(part: Atom | Entry, depth: number): string {
    const bytes = Buffer.from(part.section.data.subarray(part.start, part.end));
    const size = part.end - part.start;
    const relocations: string[] = [];
    for (const relocation of this.#view.relocationsIn(part)) {
      const at = relocation.offset - part.start;
      bytes.fill(0, at, Math.min(bytes.length, at + (relocationSize(relocation.type) ?? 0)));
      const target = this.#view.targetOf(part.section, relocation);
      relocations.push(`${at}:${relocation.type}:${this.#target(target, depth)}`);
    }
    return `${size}:${bytes.toString('hex')}[${relocations.join(',')}]`;
  }

  #target(target: Target, depth: number): string {
    const { atom, offset, symbol } = target;
    if (atom === undefined) return `outside ${symbol.name}+${offset}`;
    if (atom.kind === 'string') return `text ${atom.section.data.subarray(atom.start + offset, atom.end).toString()}`;
    if (atom.kind === 'function') return `code ${this.#keyOf(atom)}+${offset}`;
    if (isPieceSection(atom.section)) return `piece ${this.content(atom, depth)}+${offset}`;
    if (atom.kind === 'anonymous') return `constant ${this.content(atom, depth)}+${offset}`;
    if (isOwnCopy(atom.symbol?.name ?? '', atom.section.name)) return `copy ${this.content(atom, depth)}+${offset}`;
    return `data ${this.#keyOf(atom)}+${offset}`;
  }
}
