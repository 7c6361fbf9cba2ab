import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPlainNumberInOwn } from './check-likeness.ts';
import { decode } from './instructions.ts';
import { type Reference, referencesOf } from './references.ts';

/** `and $0xffffffffc0403fff,%rax`: no address, though modules lie there. */
const MASK = Uint8Array.from([0x48, 0x25, 0xff, 0x3f, 0x40, 0xc0]);
const TARGET = -0x3fbf_c001;

test('takes a number in the shipped code for no reference if the new code has it in a field without a relocation', () => {
  const instructions = decode(MASK);
  assert.ok(instructions !== undefined);
  const shipped: Reference = {
    kind: 'value',
    at: 0,
    field: { at: 2, size: 4 },
    target: TARGET,
    isShifted: false,
    isPerCpu: false,
  };
  const own = (isFilled: boolean) => ({
    functions: [{ code: MASK, instructions, references: referencesOf(MASK, 0, instructions, () => isFilled) }],
  });
  assert.equal(isPlainNumberInOwn({ reference: shipped }, own(false)), true);
  assert.equal(isPlainNumberInOwn({ reference: shipped }, own(true)), false);
  assert.equal(isPlainNumberInOwn({ reference: { ...shipped, target: TARGET + 1 } }, own(false)), false);
});
