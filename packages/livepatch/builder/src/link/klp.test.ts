import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ElfFile,
  type ElfSymbol,
  ET_REL,
  R_X86_64_64,
  readElf,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  SHT_PROGBITS,
  STB_GLOBAL,
  STB_LOCAL,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
  writeElf,
} from '@kmend/elf';
import type { Resolution } from '../types.ts';
import { convertModule, heldSymbolName, nameReferences } from './klp.ts';

const section = (name: string, flags: number): Section => ({
  name,
  type: SHT_PROGBITS,
  flags: flags | SHF_ALLOC,
  address: 0n,
  align: 8,
  entrySize: 0,
  data: new Uint8Array(32),
  size: 32,
  relocations: [],
});
const symbol = (name: string, place: Section | number, bind = STB_GLOBAL, type = STT_NOTYPE): ElfSymbol => ({
  name,
  value: 0n,
  size: 8,
  bind,
  type,
  other: 0,
  place,
});

function module(): { file: ElfFile; text: Section; table: Section } {
  const text = section('.text.f', SHF_EXECINSTR);
  const table = section('__jump_table', SHF_WRITE);
  const local = symbol('f', text, STB_LOCAL, STT_FUNC);
  const alias = symbol('alias_0', text, STB_GLOBAL, STT_FUNC);
  // objtool --prefix
  const padding = [symbol('__pfx_f', text, STB_LOCAL, STT_FUNC), symbol('__pfx_alias_0', text, STB_LOCAL, STT_FUNC)];
  const hidden = symbol('hidden', SHN_UNDEF);
  const ofModule = symbol('inner', SHN_UNDEF);
  const exported = symbol('kfree', SHN_UNDEF);
  const refer = (to: ElfSymbol, offset: number) => ({ offset, type: R_X86_64_64, symbol: to, addend: 0n });
  text.relocations = [refer(hidden, 0), refer(ofModule, 8), refer(exported, 16)];
  table.relocations = [refer(alias, 0), refer(ofModule, 8)];
  return {
    file: {
      type: ET_REL,
      sections: [text, table],
      symbols: [local, ...padding, alias, hidden, ofModule, exported],
      livepatchRelocations: [],
      segments: [],
    },
    text,
    table,
  };
}

const resolutions = new Map<string, Resolution>([
  ['hidden', { kind: 'klp', name: 'hidden', object: 'vmlinux', symbol: 'hidden', sympos: 2 }],
  ['inner', { kind: 'klp', name: 'inner', object: 'some_mod', symbol: 'inner', sympos: 0 }],
  ['kfree', { kind: 'export', name: 'kfree', exportedName: 'kfree', namespace: '' }],
]);

test('moves references into a table of the object that holds the code, keeps exports, and drops aliases', () => {
  const { file } = module();
  nameReferences(file, 'user', resolutions);
  convertModule(file, 'alias_');
  const again = readElf(writeElf(file));
  const tables = again.livepatchRelocations.map(
    ({ name, relocations }) => `${name} ${relocations.map((entry) => entry.symbol.name).join()}`,
  );
  assert.deepEqual(tables.sort(), [
    '.klp.rela.user..text.f .klp.sym.some_mod.inner,0',
    '.klp.rela.user.__jump_table .klp.sym.some_mod.inner,0',
    '.klp.rela.vmlinux..text.f .klp.sym.vmlinux.hidden,2',
  ]);
  const left = again.sections.flatMap(({ relocations }) => relocations.map((entry) => entry.symbol.name));
  assert.deepEqual(left.sort(), ['f', 'kfree']);
  for (const { name, place } of again.symbols) {
    if (name.startsWith('.klp.')) assert.equal(place, SHN_LIVEPATCH);
    assert.ok(!name.startsWith('alias_') && !name.startsWith('__pfx_alias_'));
  }
  assert.ok(again.symbols.some(({ name }) => name === '__pfx_f'));
});

test('splits a section that code of several objects shares into one table for each, of the same symbol', () => {
  const shared = section('.altinstr_aux', SHF_EXECINSTR);
  const inner = resolutions.get('inner');
  assert.ok(inner?.kind === 'klp');
  const of = (holder: string, offset: number) => {
    const held = symbol(heldSymbolName(holder, inner), SHN_UNDEF);
    shared.relocations.push({ offset, type: R_X86_64_64, symbol: held, addend: 0n });
    return held;
  };
  const symbols = [of('one', 0), of('two', 8), of('one', 16)];
  const file: ElfFile = { type: ET_REL, sections: [shared], symbols, livepatchRelocations: [], segments: [] };
  convertModule(file, 'alias_');
  const again = readElf(writeElf(file));
  const tables = again.livepatchRelocations.map(
    ({ name, relocations }) => `${name} ${relocations.map((entry) => `${entry.offset} ${entry.symbol.name}`).join()}`,
  );
  assert.deepEqual(tables.sort(), [
    '.klp.rela.one..altinstr_aux 0 .klp.sym.some_mod.inner,0,16 .klp.sym.some_mod.inner,0',
    '.klp.rela.two..altinstr_aux 8 .klp.sym.some_mod.inner,0',
  ]);
  assert.deepEqual(
    again.symbols.filter(({ name }) => name !== '').map(({ name }) => name),
    ['.klp.sym.some_mod.inner,0'],
  );
});

test('refuses two tables of one name, which sysfs could not show', () => {
  const { file } = module();
  const twin = section('.text.f', SHF_EXECINSTR);
  const hidden = file.symbols.find(({ name }) => name === 'hidden');
  assert.ok(hidden !== undefined);
  twin.relocations = [{ offset: 0, type: R_X86_64_64, symbol: hidden, addend: 0n }];
  file.sections.push(twin);
  nameReferences(file, 'user', resolutions);
  assert.throws(() => convertModule(file, 'alias_'), /two sections called \.text\.f/);
});

test('removes an alias of data, and refers to its target', () => {
  const { file, table } = module();
  const data = section('.kmend.callbacks', 0);
  const local = symbol('callbacks', data, STB_LOCAL, STT_OBJECT);
  const alias = symbol('alias_c0', data, STB_GLOBAL, STT_OBJECT);
  table.relocations.push({ offset: 16, type: R_X86_64_64, symbol: alias, addend: 0n });
  file.sections.push(data);
  // Not this one, though it lies at the same place.
  file.symbols.push(symbol('code', data, STB_LOCAL, STT_FUNC), local, alias);
  convertModule(file, 'alias_');
  assert.equal(table.relocations.at(-1)?.symbol, local);
  assert.ok(!file.symbols.includes(alias));
});

test('refuses a name that the kernel could not read back', () => {
  const { file } = module();
  const long = new Map(resolutions).set('inner', {
    kind: 'klp',
    name: 'inner',
    object: 'm'.repeat(56),
    symbol: 'inner',
    sympos: 0,
  });
  assert.throws(() => nameReferences(file, 'user', long), /too long/);
});
