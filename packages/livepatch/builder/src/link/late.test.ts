import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ElfFile,
  type ElfSymbol,
  ET_REL,
  R_X86_64_PC32,
  R_X86_64_PC64,
  type Section,
  SHF_ALLOC,
  SHN_UNDEF,
  SHT_PROGBITS,
  STB_GLOBAL,
  STT_NOTYPE,
} from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import type { Resolution } from '../types.ts';
import { resolveLateReferences } from './late.ts';

const layouts = new Map<string, StructLayout>([
  ['jump_entry', { size: 16, members: new Map() }],
  ['static_call_site', { size: 8, members: new Map() }],
]);

const symbolOf = (name: string): ElfSymbol => ({
  name,
  value: 0n,
  size: 0,
  bind: STB_GLOBAL,
  type: STT_NOTYPE,
  other: 0,
  place: SHN_UNDEF,
});

const inModule = (name: string): [string, Resolution] => [
  name,
  { kind: 'klp', name, object: 'some_mod', symbol: name, sympos: 0 },
];
const resolutions = new Map<string, Resolution>([
  inModule('__tracepoint_some'),
  inModule('__SCK__some'),
  inModule('some_key'),
  ['kernel_key', { kind: 'klp', name: 'kernel_key', object: 'vmlinux', symbol: 'kernel_key', sympos: 0 }],
]);

/** A section of entries, each marked by its number, whose key is the symbol named. */
function tableOf(name: string, size: number, keyAt: number, keys: readonly ElfSymbol[]): Section {
  const data = new Uint8Array(size * keys.length);
  const relocations = keys.map((symbol, index) => ({
    offset: index * size + keyAt,
    type: keyAt === 4 ? R_X86_64_PC32 : R_X86_64_PC64,
    symbol,
    addend: 0n,
  }));
  for (const index of keys.keys()) data[index * size] = index + 1;
  return {
    name,
    type: SHT_PROGBITS,
    flags: SHF_ALLOC,
    address: 0n,
    align: 8,
    entrySize: 0,
    data,
    size: data.length,
    relocations,
  };
}

function fileOf(name: string, size: number, keyAt: number, keys: readonly string[]): [ElfFile, Section] {
  const symbols = keys.map(symbolOf);
  const section = tableOf(name, size, keyAt, symbols);
  return [{ type: ET_REL, sections: [section], symbols, livepatchRelocations: [], segments: [] }, section];
}

test('leaves the tracepoint of a module off, and the keys of vmlinux in their entries', () => {
  const [file, section] = fileOf('__jump_table', 16, 8, ['__tracepoint_some', 'kernel_key']);
  assert.deepEqual(resolveLateReferences('a/unit.c', file, resolutions, layouts), []);
  assert.deepEqual([section.size, section.data[0]], [16, 2]);
  assert.deepEqual(
    section.relocations.map(({ offset, symbol }) => [offset, symbol.name]),
    [[8, 'kernel_key']],
  );
  assert.deepEqual(
    file.symbols.map(({ name }) => name),
    ['kernel_key'],
  );
});

test("refuses a static branch on a module's own key, which may be set before the livepatch could follow", () => {
  const [file] = fileOf('__jump_table', 16, 8, ['kernel_key', 'some_key']);
  const [reason, ...others] = resolveLateReferences('a/unit.c', file, resolutions, layouts);
  assert.deepEqual(
    [reason?.code, reason?.verdict, reason?.symbol, others],
    ['jump-label-module-key', 'refused', 'some_key', []],
  );
  assert.match(reason?.message ?? '', /static_key_enabled/);
});

test('calls a static call of a module through its trampoline', () => {
  const [file, section] = fileOf('.static_call_sites', 8, 4, ['__SCK__some', 'kernel_key', '__SCK__some']);
  assert.deepEqual(resolveLateReferences('a/unit.c', file, resolutions, layouts), []);
  assert.deepEqual([section.size, section.data[0]], [8, 2]);
});

test('refuses an exception table that would have to wait for a module', () => {
  const [file] = fileOf('__ex_table', 12, 4, ['some_key']);
  const codes = resolveLateReferences('a/unit.c', file, resolutions, layouts).map(({ code }) => code);
  assert.deepEqual(codes, ['late-relocation']);
});
