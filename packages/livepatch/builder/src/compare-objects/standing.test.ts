import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run } from '@kmend/base/node';
import { type CompileOptions, compiled } from '../testing/gcc.ts';
import { compareObjects } from './compare-objects.ts';
import type { ObjectComparison } from './model.ts';

const directory = await mkdtemp(join(tmpdir(), 'kmend-compare-standing-'));
after(() => rm(directory, { recursive: true, force: true }));

async function compare(
  before: string,
  patched: string,
  symbols: readonly string[] = [],
  options: CompileOptions = {},
): Promise<ObjectComparison> {
  const [one, other, list] = ['before', 'patched', 'symbols'].map((name) => join(directory, name));
  assert.ok(one !== undefined && other !== undefined && list !== undefined);
  await writeFile(one, await compiled(before, { layout: 'joined', ...options }));
  await writeFile(other, await compiled(patched, { layout: 'joined', ...options }));
  await writeFile(list, symbols.map((name) => `ffffffff81000000 t ${name}\n`).join(''));
  const request = { original: one, patched: other, ...(symbols.length > 0 && { symbols: list }) };
  return await compareObjects({ run, signal: new AbortController().signal }, request);
}

const codes = ({ reasons }: ObjectComparison): string[] => reasons.map(({ code }) => code).sort();
const needed = ({ references }: ObjectComparison): Record<string, string> =>
  Object.fromEntries(references.map(({ name, standing }) => [name, standing]));

/** A function and what it uses, with the numbers that a compilation happens to give them. */
const numbered = (number: number, factor: number): string => `
  int printk(const char *, ...);
  static int helper(int) asm("helper.part.${number}"); static int changed(int) asm("changed.constprop.${number}");
  static __attribute__((noipa)) int helper(int a) { static int calls asm("calls.${number}"); return calls++ + a; }
  static __attribute__((noipa)) int changed(int a) { printk("%d", a); return helper(a) * ${factor}; }
  int f(int a) { return changed(a) + 1; }`;

test('looks up the original’s names in the kernel', async () => {
  const symbols = ['helper.part.0', 'changed.constprop.0', 'calls.0', 'f', 'printk', '__ksymtab_printk', '__fentry__'];
  const comparison = await compare(numbered(0, 3), numbered(1, 5), symbols);
  const [item] = comparison.functions.changed;
  assert.deepEqual(
    [item?.name, item?.originalName, item?.inKernel],
    ['changed.constprop.1', 'changed.constprop.0', { state: 'once' }],
  );
  assert.deepEqual(needed(comparison), { 'helper.part.0': 'unexported', printk: 'exported', __fentry__: 'unexported' });
});

test('does not require of the kernel what a function brings along, but what that refers to', async () => {
  const text = (result: string): string => `
    int outer; void noisy(int); __attribute__((cold)) void bad(int);
    __attribute__((noipa)) static int fresh(int a) { noisy(a); return a; }
    int f(int a) { if (a < 0) { bad(a); bad(2); outer = 9; } return ${result}; }`;
  const comparison = await compare(text('a'), text('fresh(a)'), ['outer', 'bad', 'noisy', 'f', 'f.cold', '__fentry__']);
  assert.deepEqual(Object.keys(needed(comparison)), ['__fentry__', 'bad', 'noisy', 'outer']);
});

const FUNCTION = 'int state; int f(int a) { return a + state; }';
const NOTHING: Readonly<Record<string, readonly [before: string, after: string, also?: readonly string[]]>> = {
  'a new function that nothing uses': [FUNCTION, `${FUNCTION} int g(int a) { return a; }`],
  'a function that goes': [`${FUNCTION} int g(int a) { return a; }`, FUNCTION],
  'a new variable that nothing uses': [FUNCTION, `${FUNCTION} int fresh = 4;`],
  'a change of what only starting runs': [
    `${FUNCTION} __attribute__((section(".init.text"))) int setup(void) { return 1; }`,
    `${FUNCTION} __attribute__((section(".init.text"))) int setup(void) { return 2; }`,
    ['init-changed'],
  ],
  'a change of what only starting reads': [
    `${FUNCTION} __attribute__((section(".init.data"))) int setup = 1;`,
    `${FUNCTION} __attribute__((section(".init.data"))) int setup = 2;`,
    ['init-changed'],
  ],
};

for (const [what, [before, patched, also = []]] of Object.entries(NOTHING)) {
  test(`reports ${what} as nothing to patch`, async () => {
    const comparison = await compare(before, patched);
    assert.deepEqual([comparison.verdict, codes(comparison)], ['refused', [...also, 'no-function-changed']]);
    assert.match(comparison.reasons.at(-1)?.message ?? '', /nothing to patch/);
  });
}

test('asks for a review of init changes beside other changes', async () => {
  const [before = '', patched = ''] = NOTHING['a change of what only starting runs'] ?? [];
  const comparison = await compare(before, patched.replace('a + state', 'a - state'));
  assert.deepEqual([comparison.verdict, codes(comparison)], ['needs-review', ['init-changed']]);
});

test('ignores unwind tables of user space', async () => {
  const options: CompileOptions = { flags: ['-fasynchronous-unwind-tables'] };
  const text = 'void use(int *); int f(int a) { int list[4]; use(list); return a; }';
  const comparison = await compare(text, text.replace('list[4]', 'list[400]'), [], options);
  assert.deepEqual([comparison.verdict, codes(comparison)], ['patchable', []]);
});
