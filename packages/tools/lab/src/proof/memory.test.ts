import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usedBytes } from './memory.ts';

test('counts as used by the kernel what is neither free nor cache nor of processes', () => {
  const text = [
    'MemTotal:         997616 kB',
    'Buffers:             100 kB',
    'Cached:            13000 kB',
    'SwapCached:            0 kB',
    'AnonPages:         19016 kB',
    'KernelStack:        1000 kB',
    'PageTables:          500 kB',
    'Node 0, zone    DMA32',
    '  pages free     230000',
    '        min      5632',
    '    cpu: 0',
    '              count: 1400',
    '              high:  4000',
    '    cpu: 1',
    '              count: 100',
  ].join('\n');
  assert.equal(usedBytes(text), 38_000 * 1024);
  assert.ok(
    Number.isNaN(usedBytes(text.replaceAll('count:', 'number:').replace('pages free', 'pages'))),
    'a value that is missing is no 0',
  );
});
