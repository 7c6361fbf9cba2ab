import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usedBytes } from './memory.ts';

test('in use by the kernel is what is neither free nor cache nor of processes', () => {
  const text = [
    'MemTotal:         997616 kB',
    'Buffers:             100 kB',
    'Cached:            13000 kB',
    'SwapCached:            0 kB',
    'AnonPages:         19016 kB',
    'KernelStack:        1000 kB',
    'PageTables:          500 kB',
    'Free: 926000 kB',
  ].join('\n');
  assert.equal(usedBytes(text), 38_000 * 1024);
  assert.ok(Number.isNaN(usedBytes(text.replace('Free', 'Other'))), 'a value that is missing is no 0');
});
