import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelSymbol } from '../kernel.ts';
import { SymbolTable } from './symbol-table.ts';
import { symbolsText } from './symbols.ts';

const symbols: KernelSymbol[] = [
  { type: 'A', address: 0n, name: 'fixed_percpu_data' },
  { type: 'T', address: 0xffff_ffff_8100_0000n, name: '_stext' },
  { type: 't', address: 0xffff_ffff_8100_0000n, name: 'twice' },
  { type: 't', address: 0xffff_ffff_8100_0040n, name: 'once' },
  { type: 't', address: 0xffff_ffff_8100_0080n, name: 'twice' },
];
const tableOf = (list: readonly KernelSymbol[]): SymbolTable =>
  new SymbolTable(symbolsText(list), (line) => new Error(line));

test('finds symbols by name in their order, and names by address', () => {
  const table = tableOf(symbols);
  assert.deepEqual(table.all(), symbols);
  assert.deepEqual(table.named('twice'), [symbols[2], symbols[4]]);
  assert.deepEqual([table.named('none'), table.has('none'), table.has('once'), table.size], [[], false, true, 5]);
  assert.deepEqual(table.namesAt(0xffff_ffff_8100_0000n), ['_stext', 'twice']);
  assert.deepEqual(table.namesAt(0n), ['fixed_percpu_data']);
  assert.deepEqual(table.namesAt(0xffff_ffff_8100_0041n), []);
});

test('keeps the order of a kernel that lists its symbols in another order', () => {
  const table = tableOf([...symbols].reverse());
  assert.deepEqual(table.named('twice'), [symbols[4], symbols[2]]);
  assert.deepEqual(table.namesAt(0xffff_ffff_8100_0000n), ['twice', '_stext']);
  assert.deepEqual(table.namesAt(0xffff_ffff_8100_0080n), ['twice']);
});

test('names a line that is not valid', () => {
  for (const line of ['t  name', 't xyz name', 'nonsense', 't ffffffff810000000 name'])
    assert.throws(() => new SymbolTable(`${line}\n`, (found) => new Error(`bad: ${found}`)), /bad: /, line);
});
