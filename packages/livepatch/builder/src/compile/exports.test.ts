import assert from 'node:assert/strict';
import { test } from 'node:test';
import { elfOf } from '../testing/gcc.ts';
import { exportReasons, hasExports } from './exports.ts';

test('refuses an export with a changed CRC, not a new, removed or differently counted one', () => {
  const shipped = new Map(['changed', 'same', 'gone', 'otherwise'].map((name) => [name, { crc: '0x00000001' }]));
  const before = new Map([
    ['changed', '0x00000001'],
    ['same', '0x00000001'],
    ['gone', '0x00000001'],
    ['otherwise', '0x00000007'],
  ]);
  const after = new Map([
    ['changed', '0x00000002'],
    ['same', '0x00000001'],
    ['fresh', '0x00000001'],
    ['otherwise', '0x00000008'],
  ]);
  const [reason, ...others] = exportReasons('a/unit.c', shipped, before, after);
  assert.deepEqual(
    [reason?.code, reason?.verdict, reason?.symbol, others],
    ['export-abi-changed', 'refused', 'changed', []],
  );
  assert.match(reason?.message ?? '', /behind changed change/);
  assert.deepEqual(exportReasons('a/unit.c', shipped, before, before), []);
});

test('recognises exports in the forms of every kernel', async () => {
  const table = (section: string): string =>
    `int f(void) { return 1; } asm(".pushsection \\"${section}\\",\\"a\\"\\n.long f - .\\n.popsection");`;
  for (const section of ['___ksymtab+f', '___ksymtab_gpl+f', '__ksymtab', '.export_symbol'])
    assert.ok(hasExports(await elfOf(table(section))), section);
  assert.ok(!hasExports(await elfOf(table('.rodata.f'))));
});
