import assert from 'node:assert/strict';
import { test } from 'node:test';
import { breakpointHandlers, isBreakpointHandler, lookAtProcessors, runsStaleCode } from './stale-code.ts';

/** As seen in a guest whose second processor ran `nopl` as the breakpoint that it had been. */
const WAITING = Array<string>(10).fill('smp_call_function_many_cond');
const LOOPING = [
  ...['__schedule', 'exc_int3', 'asm_exc_int3', '__schedule', 'poke_int3_handler'],
  ...['irqentry_nmi_enter', 'kprobe_int3_handler', 'asm_exc_int3', 'irqentry_nmi_exit', 'exc_int3'],
];

test('recognises stale code by repeated breakpoints, not by one or by waiting', () => {
  const isStale = (...processors: readonly string[][]): boolean => runsStaleCode(processors, isBreakpointHandler);
  assert.equal(isStale(WAITING, LOOPING), true);
  assert.equal(isStale(WAITING, WAITING), false);
  assert.equal(isStale(WAITING, ['exc_int3', ...WAITING]), false);
  assert.equal(isStale(['print3', 'int32_add', 'point3d']), false);
});

test('finds in a running kernel where it handles breakpoints', async () => {
  const printed = [
    'asm_exc_int3 ffffffff81a00a40 ffffffff81a00a60',
    'xint3x ffffffff81a00b00 ffffffff81a00b10',
    'exc_int3 ffffffff819c0000 ffffffff819c0080',
  ].join('\n');
  const handlers = await breakpointHandlers({ check: async () => printed });
  assert.deepEqual(handlers, [
    [0xffffffff81a00a40n, 0xffffffff81a00a60n],
    [0xffffffff819c0000n, 0xffffffff819c0080n],
  ]);
});

test('looks at each processor several times', async () => {
  let look = 0n;
  const looks = await lookAtProcessors({ processors: async () => [look++, 5n] }, { sleep: async () => {} });
  assert.equal(looks.length, 2);
  assert.deepEqual([looks[0]?.length, looks[0]?.at(-1), looks[1]?.at(-1)], [30, 29n, 5n]);
});
