import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placesText, runsStaleCode } from './stale-code.ts';

/** As seen in a guest whose second processor ran `nopl` as the breakpoint that it had been. */
const WAITING = Array<string>(10).fill('smp_call_function_many_cond');
const LOOPING = [
  ...['__schedule', 'exc_int3', 'asm_exc_int3', '__schedule', 'poke_int3_handler'],
  ...['irqentry_nmi_enter', 'kprobe_int3_handler', 'asm_exc_int3', 'irqentry_nmi_exit', 'exc_int3'],
];

test('recognises stale code by repeated breakpoints, not by one or by waiting', () => {
  assert.equal(runsStaleCode([WAITING, LOOPING]), true);
  assert.equal(runsStaleCode([WAITING, WAITING]), false);
  assert.equal(runsStaleCode([WAITING, ['exc_int3', ...WAITING]]), false);
  assert.equal(runsStaleCode([['print3', 'int32_add', 'point3d']]), false);
});

test('shows how often each place was sampled', () => {
  assert.equal(placesText([['a', 'b', 'b'], ['c']]), 'processor 0: b 2, a 1\nprocessor 1: c 1');
});
