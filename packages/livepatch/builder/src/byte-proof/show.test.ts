import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { readElf } from '@kmend/elf';
import { ObjectView } from '../object/view.ts';
import { compiled } from '../testing/gcc.ts';
import type { Reason, Unit } from '../types.ts';
import { moduleImage } from './image.ts';
import { proveUnit } from './prove.ts';
import { proofReasons } from './show.ts';

const unit: Unit = { source: 'a/unit.c', object: 'unit' };

/** The proof of a text against a module that was built from another: reasons for two of its functions. */
async function reasons(built: string, shipped: string): Promise<Reason[]> {
  const view = new ObjectView(readElf(await compiled(built)), new Map());
  const proof = proveUnit(unit, view, moduleImage('unit', readElf(await compiled(shipped))));
  return await proofReasons({ run, signal: new AbortController().signal }, unit, proof, ['first', 'second']);
}

const TEXT = `
int printk(const char *, ...); int helper(int); int other(int); extern int limit;
int first(int a) { if (a > 3) printk("too large: %d", a); return helper(a) + 1; }
int second(int a) { return a + limit; }
`;

test('gives no reason for a rebuild that is equal', async () => {
  assert.deepEqual(await reasons(TEXT, TEXT), []);
});

const differing: Readonly<Record<string, readonly [change: (text: string) => string, message: RegExp]>> = {
  'another constant': [
    (text) => text.replace('a > 3', 'a > 4'),
    /at \+0x\w+ the kernel has "cmp \$0x4,%edi", built here it is "cmp \$0x3,%edi"$/,
  ],
  'a call of another function': [
    (text) => text.replace('helper(a) + 1', 'other(a) + 1'),
    /the kernel has "call other", built here it is "call helper"$/,
  ],
  'another text': [
    (text) => text.replace('too large', 'too great'),
    /the kernel has "mov \$0x\w+,%rdi <.*>", built here it is "mov \$0x0,%rdi <"too large: %d">"$/,
  ],
  'longer code': [
    (text) => text.replace('helper(a) + 1', 'helper(a) + 1 + limit'),
    /the kernel has "[^"]+", built here it is "[^"]+"$/,
  ],
};

for (const [what, [change, message]] of Object.entries(differing)) {
  test(`refuses ${what}, with the first instruction that differs, of both sides`, async () => {
    const [reason, ...others] = await reasons(TEXT, change(TEXT));
    assert.deepEqual(
      [reason?.code, reason?.verdict, reason?.symbol, others],
      ['rebuild-differs', 'refused', 'first', []],
    );
    assert.match(reason?.message ?? '', message);
  });
}

test('refuses a function that the kernel does not have', async () => {
  const [reason] = await reasons(TEXT, TEXT.replace('int second', 'int third'));
  assert.deepEqual([reason?.code, reason?.symbol], ['function-not-found', 'second']);
});
