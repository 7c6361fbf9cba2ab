import assert from 'node:assert/strict';
import { test } from 'node:test';
import { moduleImage } from '../byte-proof/image.ts';
import { elfOf, objectOf } from '../testing/gcc.ts';
import type { Unit } from '../types.ts';
import { compareFunctions } from './unit.ts';

const unit: Unit = { source: 'a/unit.c', object: 'unit' };

const STOCK = `
int printk(const char *, ...); int helper(int); int other(int); extern int limit;
static const int small[4] = { 1, 2, 3, 4 };
static const int large[4] = { 10, 20, 30, 40 };
int sum(const int *); int trouble(void) __attribute__((cold));
int use(void) { return sum(small) + sum(large); }
int first(int a) { return helper(a); }
int second(int a) { return a + limit; }
`;

/** STOCK with another \`first\`, and what stands in front of it. */
function withFirst(body: string, before = ''): string {
  return STOCK.replace('int first(int a) { return helper(a); }', `${before}\nint first(int a) { ${body} }`);
}

/** Whether \`first\` of a patched text is that of the fixed kernel's text, and what differs. */
async function compared(patched: string, fixed: string): Promise<string> {
  const [stock, view] = await Promise.all([objectOf(STOCK), objectOf(patched)]);
  const image = moduleImage('unit', await elfOf(fixed));
  const [result] = compareFunctions(unit, image, [view], stock, ['first']).functions;
  assert.equal(result?.name, 'first');
  // In the one layout that there is.
  assert.equal(result?.asExtracted, result?.equal);
  return result?.equal ? 'equal' : (result?.why ?? '');
}

const CHECKED = withFirst('if (a > 3) printk("too large: %d", a); return helper(a);');

test('finds the same fix in both equal, whatever else changed in the file', async () => {
  assert.equal(await compared(CHECKED, CHECKED), 'equal');
  assert.equal(await compared(CHECKED, CHECKED.replace('a + limit', 'a - limit')), 'equal');
});

const HELPER = 'static __attribute__((noinline)) int check(int a) { return other(a) + 3; }';
const CALLING = withFirst('if (check(a)) return 0; return helper(a);', HELPER);
const COLD = withFirst('if (a > 3) { trouble(); printk("large %d", a); } return helper(a);');

const unequal: Readonly<Record<string, readonly [patched: string, fixed: string, why: RegExp]>> = {
  'another constant': [CHECKED, CHECKED.replace('a > 3', 'a > 4'), /^first: code differs at \+0x/],
  'another function that is called': [
    CHECKED,
    CHECKED.replace('return helper(a);', 'return other(a);'),
    /here it leads to helper, in the fixed kernel to other$/,
  ],
  'another text': [CHECKED, CHECKED.replace('too large', 'too great'), /^first: code differs at .* to "too large: %d"/],
  'a function that the fixed kernel does not have': [
    CHECKED,
    CHECKED.replace('int first', 'int another'),
    /^first: the fixed kernel has no function of that name$/,
  ],
  'another static table, where all bytes are alike': [
    withFirst('return sum(small);').replace(/int use.*/, ''),
    withFirst('return sum(large);').replace(/int use.*/, ''),
    /leads to small, the fixed kernel to large$/,
  ],
  'a new function of which only the inside is another': [
    CALLING,
    CALLING.replace('other(a) + 3', 'other(a) + 4'),
    /^check: code differs at/,
  ],
  'code out of the way, of which only that part is another': [
    COLD,
    COLD.replace('large %d', 'great %d'),
    /^first\.cold: code differs at/,
  ],
};

for (const [what, [patched, fixed, why]] of Object.entries(unequal)) {
  test(`finds ${what} not equal`, async () => {
    assert.equal(await compared(patched, patched), 'equal');
    assert.match(await compared(patched, fixed), why);
  });
}

test('finds a unit equal that is equal in either layout', async () => {
  const [stock, separate, joined] = await Promise.all([
    objectOf(STOCK),
    objectOf(CHECKED.replace('a > 3', 'a > 4')),
    objectOf(CHECKED, { layout: 'joined' }),
  ]);
  const image = moduleImage('unit', await elfOf(CHECKED));
  const result = compareFunctions(unit, image, [separate, joined], stock, ['first']);
  assert.deepEqual(
    result.functions.map(({ equal, asExtracted }) => [equal, asExtracted]),
    [[true, false]],
  );
});
