import assert from 'node:assert/strict';
import { test } from 'node:test';
import { minimalPart } from './minimal.ts';

const ALL = Array.from({ length: 40 }, (_, index) => `h${index}`);

for (const wanted of [['h0'], ['h39'], ['h3', 'h17'], ['h1', 'h2', 'h30']]) {
  test(`finds that ${wanted.join(' and ')} ${wanted.length > 1 ? 'are' : 'is'} needed, in few trials`, async () => {
    let asked = 0;
    const part = await minimalPart(ALL, async (some) => {
      asked++;
      return wanted.every((one) => some.includes(one));
    });
    assert.deepEqual([...(part ?? [])].sort(), [...wanted].sort());
    assert.ok(asked <= 28, `${asked} trials`);
  });
}

test('gives no answer if the trials run out', async () => {
  let left = 3;
  assert.equal(await minimalPart(ALL, async (some) => (left-- > 0 ? some.includes('h39') : undefined)), undefined);
});

test('gives no answer if none is true by itself', async () => {
  assert.equal(await minimalPart(ALL, async () => false), undefined);
});
