import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuMs } from '@kmend/base/testing';
import { hasCode } from '../testing/errors.ts';
import { type Encoding, encodeKallsyms, sampleSymbols } from '../testing/kallsyms.ts';
import { makeVmlinux } from '../testing/vmlinux.ts';
import { decodeKallsyms } from './kallsyms.ts';
import { alignUp } from './kallsyms-tokens.ts';

const encodings: readonly (Encoding & { readonly percpu: boolean })[] = [
  { layout: '6.1', absolutePercpu: true, percpu: true },
  { layout: '6.1', absolutePercpu: false, percpu: false },
  { layout: '6.12', absolutePercpu: true, percpu: true },
  { layout: '6.12', absolutePercpu: false, percpu: false },
  { layout: '7.2', percpu: false },
];

for (const encoding of encodings) {
  const { layout, absolutePercpu, percpu } = encoding;
  const title = `${layout}${absolutePercpu ? ', absolute per-cpu symbols' : ''}`;
  test(`reads every symbol of tables of ${title} in order, long and duplicate names included`, () => {
    const symbols = sampleSymbols(percpu);
    assert.deepEqual(decodeKallsyms(makeVmlinux(encodeKallsyms(symbols, encoding))), symbols);
  });

  test(`reports an error for damaged tables of ${title}, never a wrong table or a hang`, () => {
    const symbols = sampleSymbols(percpu);
    const rodata = encodeKallsyms(symbols, encoding);
    const digits = rodata.indexOf('0\x001\x002\x003\x00', 0, 'latin1');
    const name = rodata.indexOf('function_1', 0, 'latin1');
    // kallsyms_markers lie behind the last name.
    const markers = alignUp(rodata.indexOf('D_edata', 0, 'latin1') + 7, layout === '7.2' ? 4 : 8);
    const damages: Record<string, (bytes: Buffer) => Buffer> = {
      'token table': (bytes) => bytes.fill(0x41, digits, digits + 8),
      'token index': (bytes) => bytes.fill(0xff, bytes.indexOf(Buffer.from([0x00, 0x00, 0x04, 0x00]), digits)),
      'a length of a name': (bytes) => bytes.fill(0, name - 3, name - 2),
      markers: (bytes) => bytes.fill(0xee, markers + 4, markers + 8),
      'cut off in the tokens': (bytes) => bytes.subarray(0, digits + 20),
      'cut off in the names': (bytes) => bytes.subarray(0, name),
      'all zero': (bytes) => bytes.fill(0),
    };
    for (const [what, damage] of Object.entries(damages)) {
      const damaged = makeVmlinux(damage(Buffer.from(rodata)));
      const started = cpuMs();
      assert.throws(() => decodeKallsyms(damaged), hasCode('kallsyms-not-found'), what);
      assert.ok(cpuMs() - started < 5_000, what);
    }
  });
}

test('rejects addresses that do not ascend', () => {
  const symbols = sampleSymbols(false);
  const swapped = [...symbols.slice(0, 10), ...symbols.slice(10, 20).reverse(), ...symbols.slice(20)];
  for (const encoding of encodings) {
    const vmlinux = makeVmlinux(encodeKallsyms(swapped, encoding));
    assert.throws(() => decodeKallsyms(vmlinux), hasCode('kallsyms-not-found'));
  }
});

test('searches an image full of counts that almost fit in bounded time', () => {
  // Each eight bytes are a count of 204,807 names and, from the next eight on, names of 7 bytes: quadratic without a
  // budget.
  const tables = encodeKallsyms(sampleSymbols(false), { layout: '6.12' });
  const tokens = tables.subarray(tables.indexOf('x0_\x00', 0, 'latin1'));
  const rodata = Buffer.concat([Buffer.alloc(8 << 20, Buffer.from([7, 0x20, 0x03, 0, 0, 0, 0, 0])), tokens]);
  const started = cpuMs();
  assert.throws(() => decodeKallsyms(makeVmlinux(rodata)), hasCode('kallsyms-not-found'));
  assert.ok(cpuMs() - started < 10_000);
});

test('refuses a file that is no ELF file', () => {
  assert.throws(() => decodeKallsyms(Buffer.alloc(4096)), hasCode('elf-not-elf'));
});

test('reads a table aligned to four bytes in which most places look like a count', () => {
  // Each fourth name ends on a word that is 49,000 and the beginning of names: 7.2.9 has some such places.
  const symbols = Array.from({ length: 60_000 }, (_, index) => ({
    name: index === 0 ? '_stext' : index === 59_999 ? '_etext' : `f${index}\xc0\x00\x00`,
    type: 'T',
    address: 0xffff_ffff_8100_0000n + BigInt(index * 16),
  }));
  const vmlinux = makeVmlinux(encodeKallsyms(symbols, { layout: '7.2' }));
  assert.deepEqual(decodeKallsyms(vmlinux).length, symbols.length);
});
