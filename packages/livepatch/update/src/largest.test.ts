import assert from 'node:assert/strict';
import { test } from 'node:test';
import { largestGood } from './largest.ts';

async function tried(count: number, bad: (items: readonly number[]) => boolean) {
  let asked = 0;
  const items = await largestGood(
    Array.from({ length: count }, (_, index) => index),
    async (some) => {
      asked++;
      return !bad(some);
    },
  );
  return { items, asked };
}

test('takes everything at once if it is good', async () => {
  assert.deepEqual(await tried(300, () => false), {
    items: Array.from({ length: 300 }, (_, index) => index),
    asked: 1,
  });
});

test('leaves out what is bad by itself, in few steps', async () => {
  const { items, asked } = await tried(256, (some) => some.includes(7) || some.includes(200));
  assert.equal(items.length, 254);
  assert.ok(!items.includes(7) && !items.includes(200));
  assert.ok(asked <= 2 * 2 * 8 + 1, `asked ${asked} times`);
});

test('keeps the first of two that are bad together', async () => {
  const { items } = await tried(10, (some) => some.includes(2) && some.includes(9));
  assert.deepEqual(items, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

test('returns nothing of nothing, and of what is all bad', async () => {
  assert.deepEqual(await tried(0, () => true), { items: [], asked: 0 });
  assert.deepEqual((await tried(5, () => true)).items, []);
});
