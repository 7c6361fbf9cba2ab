import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ElfFile } from '@kmend/elf';
import { structLayouts } from './btf.ts';
import { hasCode } from './testing/errors.ts';

const INT = 1;
const PTR = 2;
const STRUCT = 4;
const ENUM = 6;

/** Type information of one integer, one pointer, one enumeration, and structs behind them. */
function sampleBtf(): Buffer {
  const strings = [''];
  const text = (value: string): number => {
    const at = Buffer.byteLength(strings.join('\0')) + 1;
    strings.push(value);
    return value === '' ? 0 : at;
  };
  const words: number[] = [];
  const type = (name: string, kind: number, count: number, size: number, flag = 0): void => {
    words.push(text(name), (flag << 31) | (kind << 24) | count, size);
  };
  const member = (name: string, offset: number): void => {
    words.push(text(name), 1, offset);
  };
  type('int', INT, 0, 4);
  words.push(32);
  type('', PTR, 0, 1);
  type('colour', ENUM, 1, 4);
  words.push(text('RED'), 0);
  type('bug_entry', STRUCT, 3, 12);
  member('bug_addr_disp', 0);
  member('file_disp', 32);
  member('line', 64);
  type('flags', STRUCT, 2, 8, 1);
  member('whole', 0);
  member('bit', (1 << 24) | 37);
  type('bug_entry', STRUCT, 0, 99);
  const types = Buffer.from(new Int32Array(words).buffer);
  const names = Buffer.from(`${strings.join('\0')}\0`, 'latin1');
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header[2] = 1;
  header.writeUInt32LE(24, 4);
  header.writeUInt32LE(types.length, 12);
  header.writeUInt32LE(types.length, 16);
  header.writeUInt32LE(names.length, 20);
  return Buffer.concat([header, types, names]);
}

function elfWith(name: string, data: Uint8Array): ElfFile {
  const section = {
    name,
    type: 1,
    flags: 2,
    address: 0n,
    align: 1,
    entrySize: 0,
    data,
    size: data.length,
    relocations: [],
  };
  return { type: 2, sections: [section], symbols: [], livepatchRelocations: [], segments: [] };
}

test('reads sizes and offsets of structs in bytes: the first of a name, bit fields by their first byte', () => {
  const layouts = structLayouts(elfWith('.BTF', sampleBtf()), ['bug_entry', 'flags', 'absent']);
  assert.deepEqual(Object.fromEntries(layouts), {
    bug_entry: { size: 12, members: new Map(Object.entries({ bug_addr_disp: 0, file_disp: 4, line: 8 })) },
    flags: { size: 8, members: new Map(Object.entries({ whole: 0, bit: 4 })) },
  });
});

test('rejects missing and damaged type information', () => {
  assert.throws(() => structLayouts(elfWith('.data', Buffer.alloc(8)), []), hasCode('btf-missing'));
  const whole = sampleBtf();
  const kind = Buffer.from(whole);
  kind.writeUInt32LE(31 << 24, 24 + 4);
  const members = Buffer.from(whole);
  members.writeUInt32LE((STRUCT << 24) | 0xffff, 24 + 16 + 12 + 20 + 4);
  const name = Buffer.from(whole);
  name.writeUInt32LE(0xffff_0000, 24 + 16 + 12 + 20);
  for (const bytes of [whole.subarray(0, 20), whole.subarray(0, 60), Buffer.alloc(64), kind, members, name]) {
    assert.throws(() => structLayouts(elfWith('.BTF', bytes), ['bug_entry']), hasCode('btf-missing'));
  }
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => structLayouts(elfWith('.BTF', whole.subarray(0, length)), ['flags']), hasCode('btf-missing'));
  }
});
