import {
  type Declaration,
  declarationEnds,
  declarationsUpTo,
  enumerators,
  readDeclaration,
  wordsOf,
} from './declarations.ts';
import { Places } from './places.ts';
import { fillsByPosition } from './records/positional.ts';
import type { UnmovedRecord } from './records/unmoved.ts';

/** Names that changed things are reached by. */
interface Fresh {
  /** Functions, variables, constants: by the word itself, where it is no member. */
  readonly names: Set<string>;
  /** Members through which something of a changed type is reached: behind `.` or `->`. */
  readonly members: Set<string>;
  /** Tags and aliases of types whose layout or meaning changes. */
  readonly types: Set<string>;
}

/** What C calls a record, in its definition. */
const NAME = /\b(?:struct|union) \w+/;

/**
 * Whether the code or data that a unit emits can differ between two preprocessed texts of it, squeezed. Follows from
 * the declarations that differ, through types, inline functions and declared things, to what the unit emits. `true`
 * where it is unsure. `unmoved`: records, by tag, that are known to move nothing: those count where the unit fills one
 * by position.
 */
export function canChangeCode(
  before: string,
  after: string,
  unmoved: ReadonlyMap<string, UnmovedRecord> = new Map(),
): boolean {
  if (before === after) return false;
  const ends = [...declarationEnds(after)];
  const [old, now] = differingParts(before, after, ends);
  const allGone = without(old, now);
  const allCome = without(now, old);
  const still = [...unmoved].filter(([, record]) => allGone.includes(record.before) && allCome.includes(record.after));
  const reordered = still.flatMap(([, record]) => (record.keepsOrder ? [] : (NAME.exec(record.before)?.[0] ?? [])));
  if (reordered.length > 0 && fillsByPosition(after, reordered)) return true;
  const gone = allGone.filter((text) => !still.some(([, record]) => record.before === text));
  const come = allCome.filter((text) => !still.some(([, record]) => record.after === text));
  // The same declarations in another order are the same code.
  if (gone.length + come.length === 0) return false;
  const fresh = seeds(gone.map(readDeclaration), come.map(readDeclaration));
  if (fresh === undefined) return true;
  // An enumeration that differs counts by those of its constants that do.
  const differing = new Set(come.filter((text) => readDeclaration(text).kind === 'enumeration'));
  return reaches(new Places(after, ends), fresh, differing);
}

/**
 * The declarations of both texts between the first and the last difference: two texts of 3 MB each differ in a header's
 * few lines, and a thousand units may be looked at. `ends`: where those of `after` end.
 */
function differingParts(before: string, after: string, ends: readonly number[]): [old: string[], now: string[]] {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before.charCodeAt(head) === after.charCodeAt(head)) head++;
  let tail = 0;
  while (
    tail < shorter - head &&
    before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail)
  )
    tail++;
  const start = ends.findLast((end) => end <= head) ?? 0;
  const alike = new Set(ends);
  const moved = after.length - before.length;
  const old: number[] = [];
  for (const end of declarationEnds(before, start)) {
    old.push(end);
    // From an end of both in the common rest on, both go on alike.
    if (before.length - end <= tail && alike.has(end + moved)) break;
  }
  const last = (old.at(-1) ?? before.length) + moved;
  const now = ends.filter((end) => end > start && end <= last);
  return [declarationsUpTo(before, start, old), declarationsUpTo(after, start, now)];
}

/** Declarations of one list that the other does not have, counted. */
function without(these: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const text of others) counts.set(text, (counts.get(text) ?? 0) + 1);
  return these.filter((text) => {
    const left = counts.get(text) ?? 0;
    if (left > 0) counts.set(text, left - 1);
    return left === 0;
  });
}

/** What the differing declarations declare; `undefined` where one of them is emitted itself, or not understood. */
function seeds(gone: readonly Declaration[], come: readonly Declaration[]): Fresh | undefined {
  const fresh: Fresh = { names: new Set(), members: new Set(), types: new Set() };
  for (const { kind, names, text } of [...gone, ...come]) {
    if (kind === 'unclear' || kind === 'emitted') return undefined;
    if (kind === 'enumeration' && /\bpacked|__packed__\b/.test(text)) return undefined;
    if (kind === 'inline' || kind === 'prototype' || kind === 'variable')
      for (const name of names) fresh.names.add(name);
    if (kind !== 'record' && kind !== 'typedef') continue;
    for (const name of names) fresh.types.add(name);
    // Constants of an enumeration inside it.
    if (/\benum\b[^;{]*\{/.test(text)) for (const word of wordsOf(text)) fresh.names.add(word);
  }
  for (const name of changedConstants(gone, come)) fresh.names.add(name);
  return fresh;
}

/** Constants whose value differs, or that only one side has; a value may be that of another constant. */
function changedConstants(gone: readonly Declaration[], come: readonly Declaration[]): ReadonlySet<string> {
  const values = (declarations: readonly Declaration[]): Map<string, string> =>
    new Map(declarations.filter(({ kind }) => kind === 'enumeration').flatMap(({ text }) => [...enumerators(text)]));
  const [before, after] = [values(gone), values(come)];
  const all = new Set([...before.keys(), ...after.keys()]);
  const changed = new Set([...all].filter((name) => before.get(name) !== after.get(name)));
  for (let size = -1; size !== changed.size; ) {
    size = changed.size;
    for (const name of all) if (wordsOf(after.get(name) ?? '').some((word) => changed.has(word))) changed.add(name);
  }
  return changed;
}

function reaches(places: Places, seeds: Fresh, without: ReadonlySet<string>): boolean {
  const known: Fresh = { names: new Set(seeds.names), members: new Set(seeds.members), types: new Set(seeds.types) };
  const read = new Map<number, Declaration>();
  for (let fresh = seeds; fresh.names.size + fresh.members.size + fresh.types.size > 0; ) {
    const next: Fresh = { names: new Set(), members: new Set(), types: new Set() };
    for (const kind of ['names', 'members', 'types'] as const) {
      for (const word of fresh[kind]) {
        for (const at of places.of(word)) {
          const declaration = read.get(at) ?? readDeclaration(places.text(at));
          read.set(at, declaration);
          if (without.has(declaration.text)) continue;
          if (!follow(declaration, kind, word, next)) return true;
        }
      }
    }
    for (const kind of ['names', 'members', 'types'] as const) {
      for (const word of next[kind]) {
        if (known[kind].has(word)) next[kind].delete(word);
        else known[kind].add(word);
      }
    }
    fresh = next;
  }
  return false;
}

/** Notes what a declaration that mentions a word hands on; `false` where the mention can change what the unit emits. */
function follow({ kind, names, text }: Declaration, how: keyof Fresh, word: string, next: Fresh): boolean {
  const declare = (kinds: readonly (keyof Fresh)[]): void => {
    for (const name of names) for (const one of kinds) next[one].add(name);
  };
  switch (kind) {
    case 'nothing':
      return true;
    case 'unclear':
      return false;
    case 'emitted':
      return !mentions(text, how, word);
    case 'inline':
      if (mentions(text, how, word)) declare(['names']);
      return true;
    case 'enumeration':
      if (how === 'types' ? valueUse(text, word) : mentions(text, how, word)) declare(['names']);
      return true;
    case 'prototype':
    case 'variable':
      // What it returns or holds leads to the type; a parameter that only points to it does not.
      if (how === 'types' ? valueUse(text, word) || outside(text, word) : measures(text, word)) declare(['names']);
      return true;
    case 'typedef':
      if (how === 'types' ? valueUse(text, word) || outside(text, word) : measures(text, word)) declare(['types']);
      return inRecord(text, how, word, next);
    case 'record':
      if (how === 'types' ? valueUse(text, word) : measures(text, word)) declare(['types']);
      return inRecord(text, how, word, next);
  }
}

/** Members that a record has of the type. */
function inRecord(text: string, how: keyof Fresh, word: string, next: Fresh): true {
  if (how !== 'types') return true;
  for (const member of text.slice(text.indexOf('{') + 1).split(/[;{}]/)) {
    if (!new RegExp(`\\b${word}\\b`).test(member)) continue;
    if (outside(member, word) || valueUse(member, word)) for (const name of wordsOf(member)) next.members.add(name);
  }
  return true;
}

function mentions(text: string, how: keyof Fresh, word: string): boolean {
  if (how === 'types') return true;
  return new RegExp(how === 'members' ? `(?:\\.|->) ?${word}\\b` : `(?<!(?:\\.|->) ?)\\b${word}\\b`).test(text);
}

/** Whether a type is used as more than what something points to. */
function valueUse(text: string, word: string): boolean {
  return new RegExp(`\\b${word}\\b(?! ?(?:(?:const|volatile|restrict) ?)*\\*)`).test(text);
}

/** Whether a word stands outside of all parentheses: in what a function returns, a variable or a member is. */
function outside(text: string, word: string): boolean {
  for (const { index } of text.matchAll(new RegExp(`\\b${word}\\b`, 'g'))) {
    const before = text.slice(0, index);
    const opened = before.split('(').length - before.split(')').length;
    if (opened === 0 || /\b(?:__)?typeof(?:__)? ?\([^)]*$/.test(before)) return true;
  }
  return false;
}

/**
 * Whether a name gives a size, a place or a type: in brackets, behind a colon, in an attribute, in `sizeof` or
 * `typeof`.
 */
function measures(text: string, word: string): boolean {
  return new RegExp(
    `\\[[^\\]]*\\b${word}\\b|:[^;{}]*\\b${word}\\b|\\b(?:sizeof|__attribute__|_Alignas|(?:__)?typeof(?:__)?) ?\\([^;{}]*\\b${word}\\b`,
  ).test(text);
}
