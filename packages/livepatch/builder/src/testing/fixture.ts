import { join } from 'node:path';
import type { ElfFile, Section } from '@kmend/elf';
import { type Change, compareUnit } from '../compare/compare.ts';
import { type Extracted, emit } from '../extract/emit.ts';
import { select } from '../extract/extract.ts';
import { addressKeptReasons } from '../extract/kept.ts';
import type { Atom } from '../object/atom.ts';
import { type CompileOptions, objectOf } from './gcc.ts';

const INCLUDE = join(import.meta.dirname, 'include');
const UNIT = { source: 'a/unit.c', object: 'vmlinux' };

/** Compiles a fixture that includes `kernel.h` before and after, and compares the two. */
export async function changeOf(before: string, after: string, flags: readonly string[] = []): Promise<Change> {
  return (await fixture(before, after, flags)).change;
}

/** The same, and what is extracted. */
export async function extractOf(
  before: string,
  after: string,
  flags: readonly string[] = [],
): Promise<Extracted & { readonly change: Change }> {
  const { patched, change } = await fixture(before, after, flags);
  return { ...emit(patched, change, select(patched, change), 'alias_'), change };
}

async function fixture(before: string, after: string, flags: readonly string[]) {
  const options: CompileOptions = { flags: ['-g', '-I', INCLUDE, ...flags] };
  const compile = (text: string) => objectOf(`#include "kernel.h"\n${text}`, options);
  const [original, patched] = await Promise.all([compile(before), compile(after)]);
  return { patched, change: compareUnit(UNIT, original, patched) };
}

/**
 * What the livepatch gives away of its own: messages, up to what follows from it. `elsewhere`: what other files of it
 * define.
 */
export async function keptOf(
  before: string,
  after: string,
  { flags = [], elsewhere = [] }: { readonly flags?: readonly string[]; readonly elsewhere?: readonly string[] } = {},
): Promise<string[]> {
  const { patched, change } = await fixture(before, after, flags);
  const reasons = addressKeptReasons(UNIT.source, patched, change, select(patched, change), new Set(elsewhere));
  return reasons.map(({ message }) => message.replace(/(?: at)? \+0x\w+|: an object that stores .*$/g, '')).sort();
}

export function namesOf(atoms: Iterable<Atom>): string[] {
  return [...atoms].map(({ key }) => key).sort();
}

export function codesOf({ reasons }: Change): string[] {
  return reasons.map(({ code, verdict }) => (verdict === 'refused' ? code : `${code}?`)).sort();
}

/** What a change amounts to, for one assertion: changed, added, and reasons, those for a review with `?`. */
export function summary(change: Change): [changed: string[], added: string[], codes: string[]] {
  return [namesOf(change.changed.keys()), namesOf(change.added), codesOf(change)];
}

/**
 * Where the relocations of a section lead: names of symbols, or of the section for a section's symbol, and `!` where
 * undefined.
 */
export function targetsOf(section: Section | undefined): string[] {
  return (section?.relocations ?? []).map(({ symbol }) => {
    const { name, place } = symbol;
    return typeof place === 'number' ? `${name}!` : name === '' ? place.name : name;
  });
}

export function sectionNamed({ sections }: ElfFile, name: string): Section | undefined {
  return sections.find((section) => section.name === name);
}
