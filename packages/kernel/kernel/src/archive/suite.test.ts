import assert from 'node:assert/strict';
import { test } from 'node:test';
import { baseSuite } from './suite.ts';

test('takes the suite that a part of the archive belongs to', () => {
  const suites = ['bookworm', 'trixie', 'bookworm-security', 'trixie-backports', 'trixie-proposed-updates', 'sid'];
  assert.deepEqual(suites.map(baseSuite), ['bookworm', 'trixie', 'bookworm', 'trixie', 'trixie', 'sid']);
});
