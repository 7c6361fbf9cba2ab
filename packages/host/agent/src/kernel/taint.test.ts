import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { flagsOf, taintFlags } from '@kmend/rules';
import { TestKernel } from '../testing/kernel.ts';
import { AcceptedTaint, assertSound, readTaint } from './taint.ts';

async function hostWith(tainted: string | undefined, oopses?: string): Promise<TestKernel> {
  const kernel = await TestKernel.make();
  if (tainted === undefined) await rm(kernel.path('/proc/sys/kernel/tainted'));
  else await kernel.write('/proc/sys/kernel/tainted', tainted);
  if (oopses !== undefined) await kernel.write('/sys/kernel/oops_count', oopses);
  return kernel;
}

const lettersOf = (mask: bigint): string =>
  flagsOf(mask)
    .map((it) => it.letter)
    .join('');

test('has the letters of kernel/panic.c in its order', () => {
  assert.equal(lettersOf((1n << 19n) - 1n), 'PFSRMBUDAWCIOELKXTN');
  assert.deepEqual(
    taintFlags.map((it) => it.bit),
    taintFlags.map((_, index) => index),
  );
  assert.equal(lettersOf(0n), '');
  assert.equal(lettersOf(32768n + 4096n + 8192n), 'OEK');
});

test('warns about an unknown taint bit, the highest included', () => {
  assert.deepEqual(
    flagsOf((1n << 63n) | (1n << 19n)).map((it) => [it.bit, it.letter, it.weight]),
    [
      [19, '?', 'warns'],
      [63, '?', 'warns'],
    ],
  );
});

test('refuses a load for exactly these flags', async (context) => {
  const refusing: string[] = [];
  for (const { bit, letter } of taintFlags) {
    const kernel = await hostWith(`${2n ** BigInt(bit)}\n`);
    context.after(() => kernel.remove());
    await assertSound(kernel.edges()).catch((error: { code?: string }) => {
      assert.equal(error.code, 'kernel-tainted');
      refusing.push(letter);
    });
  }
  assert.deepEqual(refusing, ['F', 'R', 'M', 'B', 'D', 'L']);
});

test('treats a kernel tainted by livepatches, unsigned modules or warnings as sound', async (context) => {
  const kernel = await hostWith(`${512 + 4096 + 8192 + 32768}\n`);
  context.after(() => kernel.remove());
  await assertSound(kernel.edges());
});

test('ignores accepted taint flags, refuses others, and never accepts a crash', async (context) => {
  const kernel = await hostWith(`${16384 + 32}\n`);
  context.after(() => kernel.remove());
  await assertSound(kernel.edges(), ['L', 'B']);
  await assert.rejects(assertSound(kernel.edges(), ['L']), (error: { details?: { letters?: string[] } }) => {
    assert.deepEqual(error.details?.letters, ['B']);
    return true;
  });
  assert.equal(AcceptedTaint.safeParse(['D']).success, false);
});

test('names a crashed kernel with its oops count, and advises only a reboot', async (context) => {
  const kernel = await hostWith('128\n', '3\n');
  context.after(() => kernel.remove());
  await assert.rejects(assertSound(kernel.edges()), (error: { message: string; hint?: string; details?: object }) => {
    assert.match(error.message, /crashed since it was booted.*\(3 since boot\)/);
    assert.match(error.hint ?? '', /reboot/);
    assert.doesNotMatch(error.hint ?? '', /acceptTaint/);
    assert.deepEqual(error.details, { tainted: '128', letters: ['D'], crashed: true, oopses: 3 });
    return true;
  });
});

test('treats a kernel without a taint value as unknown, never as sound', async (context) => {
  for (const tainted of [undefined, '', 'x\n', '-1\n', `${'9'.repeat(40)}\n`]) {
    const kernel = await hostWith(tainted);
    context.after(() => kernel.remove());
    await assert.rejects(readTaint(kernel.edges()), { code: 'kernel-unknown' }, String(tainted));
    await assert.rejects(assertSound(kernel.edges()), { code: 'kernel-unknown' });
  }
});
