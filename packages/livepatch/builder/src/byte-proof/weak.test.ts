import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readElf } from '@kmend/elf';
import { ObjectView } from '../object/view.ts';
import { compiled, linkedOf } from '../testing/gcc.ts';
import type { Unit } from '../types.ts';
import { moduleImage } from './image.ts';
import { proveUnit } from './prove.ts';
import { overriddenWeak, withoutOverridden } from './weak.ts';

const unit: Unit = { source: 'a/unit.c', object: 'mod' };
const flags = ['-fno-function-sections', '-fno-data-sections'];

const DEFAULTS = `
__attribute__((weak)) int replaced(int a) { return a; }
__attribute__((weak)) int same(int a) { return a + 1; }
__attribute__((weak)) int kept(int a) { return a + 2; }
int user(int a) { return replaced(a) * same(a) * kept(a); }
`;
const OTHER = 'int replaced(int a) { return -a; } int same(int a) { return a + 1; }';

const linked = (first: string, second: string) =>
  linkedOf(
    [
      ['first.c', first],
      ['second.c', second],
    ],
    flags,
  );

/** What of a unit of defaults is overridden in a module that was linked of it and another unit. */
async function overridden(defaults: string, other: string, isWeak: (name: string) => boolean) {
  const view = new ObjectView(readElf(await compiled(defaults, { flags })), new Map());
  const image = moduleImage('mod', await linked(defaults, other));
  const proof = proveUnit(unit, view, image);
  const found = overriddenWeak(view, image, proof, isWeak);
  return { found, proof: withoutOverridden(proof, found) };
}

const unasked = (): boolean => assert.fail('the places tell');

test('takes a default as overridden if its name leads to another unit, even to the same bytes', async () => {
  const { found, proof } = await overridden(DEFAULTS, OTHER, unasked);
  assert.deepEqual(found, ['replaced', 'same']);
  assert.deepEqual([proof.equal, proof.different], [['kept', 'user'], []]);
});

test('accepts an overriding definition that is weak itself', async () => {
  const weak = OTHER.replaceAll('int replaced', '__attribute__((weak)) int replaced');
  // The linker takes the first of two.
  const view = new ObjectView(readElf(await compiled(DEFAULTS, { flags })), new Map());
  const image = moduleImage('mod', await linked(weak, DEFAULTS));
  assert.deepEqual(overriddenWeak(view, image, proveUnit(unit, view, image), unasked), ['replaced', 'same']);
});

test('decides by the kernel’s own symbol without a proven neighbour', async () => {
  const alone = '__attribute__((weak)) int replaced(int a) { return a; }';
  assert.deepEqual((await overridden(alone, OTHER, () => false)).found, ['replaced']);
  assert.deepEqual((await overridden(alone, 'int nothing;', () => true)).found, []);
});
