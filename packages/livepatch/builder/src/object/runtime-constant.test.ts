import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readVariable, runtimeConstant } from './runtime-constant.ts';

const UNWRITTEN = [0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01];

test('knows the sections of constants that the kernel writes into its code', () => {
  assert.deepEqual(runtimeConstant({ name: 'runtime_ptr_USER_PTR_MAX' }), { kind: 'pointer', name: 'USER_PTR_MAX' });
  assert.deepEqual(runtimeConstant({ name: 'runtime_ptr___names_cache' }), { kind: 'pointer', name: '__names_cache' });
  assert.deepEqual(runtimeConstant({ name: 'runtime_shift_d_hash_shift' }), { kind: 'shift', name: 'd_hash_shift' });
  assert.equal(runtimeConstant({ name: '.data.runtime_ptr' }), undefined);
});

test('reads the variable in place of the constant, into the same register, in as many bytes', () => {
  const rax = Uint8Array.from([0x90, 0x48, 0xb8, ...UNWRITTEN, 0xc3]);
  assert.equal(readVariable(rax, 3), 4);
  assert.deepEqual([...rax], [0x90, 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0x0f, 0x1f, 0x00, 0xc3]);
  const r13 = Uint8Array.from([0x49, 0xbd, ...UNWRITTEN]);
  assert.equal(readVariable(r13, 2), 3);
  assert.deepEqual([...r13], [0x4c, 0x8b, 0x2d, 0, 0, 0, 0, 0x0f, 0x1f, 0x00]);
});

test('changes no other instruction', () => {
  for (const bytes of [
    [0x48, 0xc7, ...UNWRITTEN],
    [0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0],
    [0x48, 0xb8, ...UNWRITTEN.slice(0, 7)],
  ]) {
    const code = Uint8Array.from(bytes);
    assert.equal(readVariable(code, 2), undefined);
    assert.deepEqual([...code], bytes);
  }
  assert.equal(readVariable(Uint8Array.from(UNWRITTEN), 0), undefined);
});
