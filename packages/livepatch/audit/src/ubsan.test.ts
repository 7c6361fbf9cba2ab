import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from './instructions.ts';
import { referencesOf } from './references.ts';
import { isUbsanRecord } from './ubsan.ts';

const HANDLER = -0x7ff0_0000;
const BASE = -0x7f00_0000;

/** `mov $record,%rdi; [between]; call HANDLER`, at BASE. */
function handingOver(register: number, between: readonly number[] = []) {
  const code = Buffer.alloc(7 + between.length + 5);
  code.set([0x48, 0xc7, register]);
  code.writeInt32LE(-0x7cd8_8fa0, 3);
  code.set(between, 7);
  code[7 + between.length] = 0xe8;
  code.writeInt32LE(HANDLER - (BASE + code.length), code.length - 4);
  const instructions = decode(code);
  assert.ok(instructions !== undefined);
  return { code, instructions, references: referencesOf(code, BASE, instructions) };
}

const named = (name: string) => (address: number) => (address === HANDLER ? [name] : []);

test('knows a record that the shipped code hands to UBSAN', () => {
  const handler = named('__ubsan_handle_out_of_bounds');
  assert.equal(isUbsanRecord(handingOver(0xc7), 0, handler), true);
  // mov %rax,(%rsp) between them
  assert.equal(isUbsanRecord(handingOver(0xc7, [0x48, 0x89, 0x04, 0x24]), 0, handler), true);
});

test('takes nothing else for a record of UBSAN', () => {
  const handler = named('__ubsan_handle_out_of_bounds');
  assert.equal(isUbsanRecord(handingOver(0xc7), 0, named('mutex_lock')), false, 'another function');
  assert.equal(isUbsanRecord(handingOver(0xc6), 0, handler), false, 'the second argument');
  assert.equal(isUbsanRecord(handingOver(0xc7, [0x74, 0x05]), 0, handler), false, 'the call may be jumped over');
});
