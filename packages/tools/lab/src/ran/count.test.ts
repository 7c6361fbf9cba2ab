import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { parseProfile, parseSections, probeLines } from './count.ts';

const code = (name: string, section: string, offset: bigint) => ({
  object: 'vmlinux',
  name,
  sympos: 0,
  source: 'a.c',
  section,
  offset,
});

test('places a probe of each function by its section and offset, and separates two of one name', () => {
  const sections = parseSections('.text 0xffffffffc056a000\n.text.show 0xffffffffc056af40\n.data 0xffffffffc0570000\n');
  const lines = probeLines([code('show', '.text.show', 0n), code('show', '.text.show', 0x90n)], sections);
  assert.equal(lines, '0 0xffffffffc056af40\n1 0xffffffffc056afd0\n');
});

test('fails if the kernel does not give a section’s address', () => {
  for (const printed of ['', '.text.show 0x0000000000000000\n']) {
    assert.throws(
      () => probeLines([code('show', '.text.show', 0n)], parseSections(printed)),
      (error) => errorCode(error) === 'lab-command-failed',
    );
  }
});

test('adds to the hits those that a probe missed because another one was active', () => {
  const printed = [
    '  kmend_ran_1                                                0               0',
    '  kmend_ran_12                                               5               2',
    '  openat                                                    77               0',
  ];
  assert.deepEqual(
    [...parseProfile(printed.join('\n'))],
    [
      [1, 0],
      [12, 7],
    ],
  );
});
