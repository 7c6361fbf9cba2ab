import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Replacement } from './check-functions.ts';
import { isNoLongerInlined, isPlainNumberInOwn, isTakenOut } from './check-likeness.ts';
import { decode } from './instructions.ts';
import type { Likened } from './likeness.ts';
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

const CALLER: Replacement = { object: 'vmlinux', name: 'caller', sympos: 0, oldAddress: 0, oldEnd: 9, newAddress: 99 };

/** A call of the place that the key names. */
function call(target: number): Likened {
  const field = { at: 1, size: 4 };
  const reference = { kind: 'call', at: 0, field, target, isShifted: false, isPerCpu: false } as const;
  return { reference, where: '+0x0', field: 0, key: `call ${target}` };
}

test('knows a new call of a function that the shipped code had inlined', async () => {
  const flags = { isCode: true, isWritable: false, isLocal: false, isInit: false };
  const located = { object: 'vmlinux', names: ['is_zero'], start: 500, end: 510, ...flags };
  const simulation = { world: { locate: () => located }, loaded: { at: () => undefined } };
  const judge = { calls: async (_caller: string, callee: string) => callee === 'is_zero' };
  const judged = (shipped: readonly Likened[], target = 500) =>
    isNoLongerInlined(call(target), { replacement: CALLER, shipped }, simulation, judge);
  assert.equal(await judged([call(300)]), true);
  // It was called there before, so that this call is another one.
  assert.equal(await judged([call(300), call(500)]), false);
  assert.equal(await judged([], 504), false, 'into the middle of it');
  const never = { calls: async () => false };
  assert.equal(await isNoLongerInlined(call(500), { replacement: CALLER, shipped: [] }, simulation, never), false);
});

test('knows a call of a part that the compiler has taken out of the function', () => {
  const part = { function: { references: [call(500).reference] }, offset: 0 };
  const own = { functionAt: () => part };
  const taken = (shipped: readonly Likened[], fresh: readonly Likened[], replacing = new Map<number, Replacement>()) =>
    isTakenOut(call(800), { shipped, own: fresh }, { own }, replacing);
  assert.equal(taken([call(500)], [call(800)]), true);
  assert.equal(taken([call(500)], [call(800), call(500)]), false, 'the function still has what the part has');
  assert.equal(taken([call(300)], [call(800)]), false, 'the part has something else');
  assert.equal(taken([call(500)], [call(800)], new Map([[800, CALLER]])), false, 'it replaces a function');
});
