import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ElfFile, type ElfSymbol, ET_REL, type Section, SHN_UNDEF, SHT_PROGBITS, STB_GLOBAL } from '@kmend/elf';
import { nameProvided, type ProvidingUnit, plainName, resolveProvided } from './provided.ts';

const unit = (object: string, words: Partial<ProvidingUnit> = {}): ProvidingUnit => ({
  source: `${object}/unit.c`,
  object,
  provides: [],
  unknown: [],
  resolutions: [],
  ...words,
});
const requires = (object: string): ReadonlySet<string> => new Set(object === 'vfat' ? ['fat'] : []);
const settle = (...units: ProvidingUnit[]) => {
  const { reasons, providerOf } = resolveProvided(units, requires);
  const last = units.at(-1);
  return [reasons.map(({ code }) => code), last === undefined ? [] : [...(providerOf.get(last) ?? [])]];
};

test('takes a new global from the same object, else from vmlinux, else from a module that the object depends on', () => {
  const of = (object: string) => unit(object, { provides: ['fresh'] });
  const user = unit('vfat', { source: 'vfat/user.c', unknown: ['fresh'] });
  assert.deepEqual(settle(of('fat'), of('vmlinux'), of('vfat'), user), [[], [['fresh', 'vfat']]]);
  assert.deepEqual(settle(of('fat'), of('vmlinux'), user), [[], [['fresh', 'vmlinux']]]);
  assert.deepEqual(settle(of('fat'), user), [[], [['fresh', 'fat']]]);
});

test('refuses a new global of a module that may be missing when its user runs', () => {
  const provider = unit('vfat', { provides: ['fresh'] });
  assert.deepEqual(settle(provider, unit('fat', { unknown: ['fresh'] })), [['symbol-late'], []]);
  assert.deepEqual(settle(provider, unit('vmlinux', { unknown: ['fresh'] })), [['symbol-late'], []]);
});

test('refuses what nothing provides, what two files of an object provide, and what the kernel has by the same name', () => {
  assert.deepEqual(settle(unit('fat', { unknown: [''] })), [['table-unclear'], []]);
  assert.deepEqual(settle(unit('fat', { unknown: ['fresh'] })), [['symbol-unknown'], []]);
  const twin = unit('fat', { source: 'fat/other.c', provides: ['fresh'] });
  assert.deepEqual(settle(unit('fat', { provides: ['fresh'] }), twin), [['symbol-unproven'], []]);
  const user = unit('fat', { source: 'fat/user.c', resolutions: [{ name: 'fresh' }] });
  assert.deepEqual(settle(twin, user), [['symbol-unproven'], []]);
  // A file of two modules: each has its own.
  const copies = ['fat', 'vfat'].map((object) => unit(object, { source: 'both.c', provides: ['fresh'] }));
  assert.deepEqual(settle(...copies), [[], []]);
});

test('names new globals by their object for the link, and gives the plain names back', () => {
  const text: Section = {
    name: '.text.fresh',
    type: SHT_PROGBITS,
    flags: 0,
    address: 0n,
    align: 1,
    entrySize: 0,
    data: new Uint8Array(1),
    size: 1,
    relocations: [],
  };
  const symbol = (name: string, place: Section | number): ElfSymbol => ({
    name,
    value: 0n,
    size: 0,
    bind: STB_GLOBAL,
    type: 0,
    other: 0,
    place,
  });
  const symbols = [
    symbol('fresh', text),
    symbol('alias', text),
    symbol('other', SHN_UNDEF),
    symbol('kfree', SHN_UNDEF),
  ];
  const file: ElfFile = { type: ET_REL, sections: [text], symbols, livepatchRelocations: [], segments: [] };
  nameProvided(file, 'vfat', new Set(['fresh']), new Map([['other', 'fat']]));
  assert.deepEqual(
    file.symbols.map(({ name }) => name),
    ['fresh.kmend_of.vfat', 'alias', 'other.kmend_of.fat', 'kfree'],
  );
  assert.deepEqual(
    file.symbols.map(({ name }) => plainName(name)),
    ['fresh', 'alias', 'other', 'kfree'],
  );
});
