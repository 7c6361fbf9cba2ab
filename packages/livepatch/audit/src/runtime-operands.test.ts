import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runtimeOperands } from './runtime-operands.ts';

const LIST = 0xffff_ffff_83f0_0000n;
const LIST_AT = Number(BigInt.asIntN(64, LIST));

function section(name: string, ...distances: readonly number[]) {
  const data = Buffer.alloc(distances.length * 4);
  for (const [index, distance] of distances.entries()) data.writeInt32LE(distance, index * 4);
  return { name, address: LIST, data };
}

test('reads which operands the kernel fills in at boot', () => {
  const found = runtimeOperands([
    section('runtime_ptr_USER_PTR_MAX', -0x1000, -0x2000),
    section('runtime_shift_d_hash_shift', -0x1800),
    section('.rodata', 1),
  ]);
  assert.deepEqual(found, [
    { at: LIST_AT + 4 - 0x2000, kind: 'ptr', variable: 'USER_PTR_MAX' },
    { at: LIST_AT - 0x1800, kind: 'shift', variable: 'd_hash_shift' },
    { at: LIST_AT - 0x1000, kind: 'ptr', variable: 'USER_PTR_MAX' },
  ]);
});
