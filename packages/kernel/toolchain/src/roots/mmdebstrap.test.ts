import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mmdebstrapArguments } from './mmdebstrap.ts';

test('has apt take an index that is out of date for a suite that the operator named, and for no other', () => {
  const source = { acceptExpired: new Set(['sid']) };
  const option = '--aptopt=Acquire::Check-Valid-Until "false"';
  for (const [suite, wanted] of [
    ['sid', true],
    ['trixie', false],
  ] as const)
    assert.equal(mmdebstrapArguments({ suite, packages: [], source }, 'root', '-').includes(option), wanted);
});
